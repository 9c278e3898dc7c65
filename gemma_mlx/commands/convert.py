"""`gemma-mlx convert`."""

EXAMPLES = """Examples:

\b
  gemma-mlx convert ~/models/gemma-4-12B-it -o ~/models/gemma-4-12B-it-4bit"""


def convert() -> None:
    """Quantize a checkpoint into a directory of its own."""
    raise NotImplementedError
