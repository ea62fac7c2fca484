"""Callbacks in the timeline of CRM cards: bringing them up to date, and clicks on their buttons."""
