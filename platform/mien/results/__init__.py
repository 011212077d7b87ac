"""What runs leave and what it is worth: no ray, no framework."""
