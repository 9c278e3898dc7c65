"""`gemma-mlx pull`."""

EXAMPLES = """Examples:

\b
  gemma-mlx pull"""


def pull() -> None:
    """Fetch Gemma 4 12B, or another checkpoint of it, from the Hub."""
    raise NotImplementedError
