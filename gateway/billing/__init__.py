"""What organizations pay, and how it is collected."""
