"""Draw the figures of a network, layer by layer, and of several networks side by side."""
