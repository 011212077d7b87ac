"""What runs on Amazon EC2 only."""
