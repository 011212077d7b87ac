"""Requests that a worker makes of S3, counted at a moto server by tests/integration/test_media_s3.py."""

from __future__ import annotations

# Per clip and medium, however many features read it: to decode it a HEAD and a GET, to hash it two HEAD (which cost as
# much as a GET) and a GET. For files up to 16 MiB; a larger one is read 1 MiB at a time.
GETS_OF_A_MEDIUM = 5
# Per part, where one feature is extracted alone: the note that it was begun, the part, and Arrow's mark of the emptied
# folder; and the removal of the note.
PUTS_OF_A_PART, DELETES_OF_A_PART = 3, 1
