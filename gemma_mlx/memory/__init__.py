"""What fits into memory, as pure arithmetic: no MLX, no files but the headers of a checkpoint."""
