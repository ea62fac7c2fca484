"""Rings: one process tells the others that a row may be due, or that what they wait for has happened.

A ring may be lost or come twice. Whoever hears it looks into the database, and does so from time to time anyway.
"""

from bx24app.services.runtime.rings.bell import examine_rings, hearing, ring
from bx24app.services.runtime.rings.message import ANYTHING, Listener, Ring, RowId

__all__ = ["ANYTHING", "Listener", "Ring", "RowId", "examine_rings", "hearing", "ring"]
