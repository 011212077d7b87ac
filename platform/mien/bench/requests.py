"""Requests to S3 that preparing takes, counted at a moto server by tests/integration/test_media_s3.py."""

# Per clip and medium, however many features read it: to decode it a HEAD and a GET, to hash it two HEAD (which cost as
# much as a GET) and a GET. For files up to 16 MiB; a larger one is read 1 MiB at a time.
GETS_OF_A_CLIP = 5
PUTS_OF_A_PART = 3  # the note that it was begun, the part, and Arrow's mark of the emptied folder
WRITES_OF_A_PART = PUTS_OF_A_PART + 1  # and the DELETE of the note
GETS_OF_A_JOINING_NODE = 2  # of each part of a feature, to make its memory-mapped file: a HEAD and a GET
