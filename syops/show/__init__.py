"""Turn numbers into text and pictures, without torch."""
