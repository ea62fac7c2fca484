"""What a portal tells of its company: cards of every kind, its own kinds of cards, and its calendar."""
