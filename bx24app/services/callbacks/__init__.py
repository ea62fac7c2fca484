"""Callbacks as people see them: asking for one, changing one, looking at them."""
