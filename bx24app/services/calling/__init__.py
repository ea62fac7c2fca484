"""The parts of a call: telephone numbers, business hours, spoken texts, and the do-not-call list."""
