"""Turns rows into numbers: classes, prices, energies, warnings, proofs. Without torch."""
