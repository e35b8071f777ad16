"""Run a model on many batches."""
