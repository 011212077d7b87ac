"""What a cluster will cost and did cost."""
