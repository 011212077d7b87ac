"""A cluster on EC2: its account, its declaration, its nodes, spot notices, and what is left of it."""
