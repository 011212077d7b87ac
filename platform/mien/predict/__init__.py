"""A finished run -> use: predictions from features and from media files."""
