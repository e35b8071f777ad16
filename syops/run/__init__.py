"""Many batches: the loop over them, and what it keeps."""
