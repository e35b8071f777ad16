"""Keep what a run leaves behind: plain integers, without torch."""
