"""The commands of `gemma-mlx`, a file each. Everything heavy is imported inside them."""
