"""Content: what makes two media the same, beside the stretch of them that was read."""

from __future__ import annotations

from mien.corpora.clip import Medium
from mien.features import media


def content_of(medium: Medium, *, is_table: bool = False) -> str:
    """SHA-256 of the file of a medium; "<sha>#<row>" for a row of a table, "<sha>#<track>" for one of several tracks.

    A file is read once per process, however many clips are stretches of it. Raises MediaError where it cannot be read.
    """
    path, _, row = medium.path.partition("#") if is_table else (medium.path, "", "")
    part = row or ("" if medium.track is None else str(medium.track))
    digest = media.content_hash(path)
    return f"{digest}#{part}" if part else digest
