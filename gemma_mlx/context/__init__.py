"""The caches of one conversation, what their positions hold, ways back, and both in one file."""
