"""Backups of the whole database, and what is done with an older state before anybody works with it."""

from bx24app.backups.making import back_up
from bx24app.backups.renewal import PortalRenewal, renew_every_portal
from bx24app.backups.restoring import Restored, restore

__all__ = ["PortalRenewal", "Restored", "back_up", "renew_every_portal", "restore"]
