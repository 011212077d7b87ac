"""Clips -> frames in a store."""
