"""Sound of any length to text: cut into clips in its pauses, each written down by itself, with its times."""
