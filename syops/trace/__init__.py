"""Run a model, and fill the ledger."""
