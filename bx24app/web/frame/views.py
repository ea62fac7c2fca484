"""What a section of the desk is made of: views, each a piece of HTML that goes into the page's main element."""

from collections.abc import Callable
from dataclasses import dataclass

from bx24app.services.callbacks.roles import Role


@dataclass(frozen=True)
class View:
    """One view of a section: ``rule`` is its address below the section's, ``show`` renders it.

    ``show`` takes the principal and the values of the rule, reads our database only, and raises ``NotFound`` for
    what is not the portal's.
    """

    rule: str
    show: Callable[..., str]


@dataclass(frozen=True)
class Section:
    """One tab of the desk: who has it, and its views. The first one opens with the tab."""

    name: str
    role: Role
    views: tuple[View, ...]
