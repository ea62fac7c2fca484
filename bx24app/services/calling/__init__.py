"""What a call is made of: numbers, hours, spoken texts, and the list of numbers not to call."""
