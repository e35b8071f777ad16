"""Stand in for syops-counter 0.0.5: its function, what it returns and what it prints."""
