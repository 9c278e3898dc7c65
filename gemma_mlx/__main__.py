"""`python -m gemma_mlx` is `gemma-mlx`."""

from gemma_mlx.cli import main

main()
