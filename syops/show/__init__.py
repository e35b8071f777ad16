"""Turns numbers into text and pictures. Without torch."""
