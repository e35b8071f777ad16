"""Figures -> figures of matplotlib: of one report by layer, and of networks side by side."""
