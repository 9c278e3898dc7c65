"""`gemma-mlx plan`."""

EXAMPLES = """Examples:

\b
  gemma-mlx plan --memory 16GB"""


def plan() -> None:
    """What fits into the memory of this machine, before anything is loaded."""
    raise NotImplementedError
