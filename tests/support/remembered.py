"""Every secret that the tests make, for the look afterwards whether one of them leaked."""

MADE: list[str] = []


def remember(secret: str) -> str:
    """Note a secret; returns it."""
    MADE.append(secret)
    return secret
