"""The store -> batches, in an order that workers cannot change."""
