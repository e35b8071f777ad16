"""The method of the paper on handwritten digits: see benchmarks/digits.py."""
