"""What keeps a command of the operator from being done; nothing was changed, and the message says so in a sentence."""


class CommandRefused(Exception):
    """A command that is not done: ``str()`` says why and what to do, in English."""


class DatabaseInUse(CommandRefused):
    """Web, worker or another command is connected with the database."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"{purpose}. The database is in use: stop every web, worker and other process of the app first."
        )
