"""Requests to S3 that preparing takes, counted at a moto server."""

GETS_OF_A_CLIP = 4  # two to decode it, two to hash it; up to 16 MiB
PUTS_OF_A_PART = 3  # the note that it was begun, the part, and Arrow's mark of the emptied folder
WRITES_OF_A_PART = PUTS_OF_A_PART + 1  # and the DELETE of the note
