"""Telling a site's back end about its callbacks."""
