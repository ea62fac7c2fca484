"""From model objects to what templates show; pure: no presenter reads the database or calls out."""
