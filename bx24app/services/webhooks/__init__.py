"""Webhooks: they tell a site's back end about the callbacks of its forms."""
