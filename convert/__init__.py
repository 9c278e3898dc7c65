"""A source checkpoint into a quantized directory: `gemma-mlx convert`."""
