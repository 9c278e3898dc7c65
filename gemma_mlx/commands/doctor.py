"""`gemma-mlx doctor`."""

EXAMPLES = """Examples:

\b
  gemma-mlx doctor"""


def doctor() -> None:
    """Check this machine, the packages and the model files."""
    raise NotImplementedError
