"""What administrators write of a form, what one press proposes, how colours read, and how forms do today."""
