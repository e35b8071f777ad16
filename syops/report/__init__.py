"""Define what a user holds: the numbers, with ways to show them."""
