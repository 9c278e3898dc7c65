"""Gemma 4 12B in MLX: arrays and weights only. Read `gemma.py` first."""
