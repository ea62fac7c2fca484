"""What the desk's list asks for: callbacks by filters, their counters and their file, and how people left it."""
