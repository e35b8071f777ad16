"""Runs a model, and fills the ledger."""
