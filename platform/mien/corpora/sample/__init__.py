"""Synthetic corpora in the true on-disk layouts, to try everything without a download."""
