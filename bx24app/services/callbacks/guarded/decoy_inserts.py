"""Inserts of decoys, and of the rejections beside them that only the portal reads."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, String, bindparam, case, literal_column, select

from bx24app.models import Callback, DecoyRequest, Rejection
from bx24app.services.callbacks.conditions import NUMBER_DAY
from bx24app.services.callbacks.guarded.row_inserts import inserting
from bx24app.services.callbacks.number_holder import holds


def holder() -> Select[Any]:
    """Find the id of the callback that holds the candidate's number."""
    portal_id = bindparam("c_portal_id", type_=Callback.portal_id.type)
    # By the index that begins with the number, whatever plan was kept (``conditions._portal_has``).
    is_of_portal = Callback.portal_id + literal_column("0") == portal_id
    return select(Callback.id).where(is_of_portal, holds(bindparam("c_to_number", type_=String)))


def inserting_decoy(names: tuple[str, ...], after: CTE | None, where: ColumnElement[bool], held_by: Any) -> Any:
    """Insert the decoy with its holder (``held_by``); nothing is inserted where another request was faster."""
    row = inserting(DecoyRequest, names, after, where, {"holder_id": held_by})
    return row.on_conflict_do_nothing()


def inserting_rejection(
    names: tuple[str, ...], after: CTE | None, where: ColumnElement[bool] | None, is_unlisted: ColumnElement[bool]
) -> Any:
    """Insert the rejection of a listed number, or else of one that is asked for too often."""
    listed = bindparam("n_rule", type_=Rejection.rule.type)
    rule = case((is_unlisted, literal_column(f"'{NUMBER_DAY}'")), else_=listed)
    return inserting(Rejection, names, after, where, {"rule": rule})
