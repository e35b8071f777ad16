"""Turn rows into numbers: classes, prices, energies, warnings, proofs. Needs no torch."""
