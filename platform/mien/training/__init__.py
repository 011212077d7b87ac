"""Training: one loop for all families, and the policies that steer it."""
