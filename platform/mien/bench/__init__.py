"""What `mien bench` measures: plain loops as a researcher would write them, and mien's way beside them."""
