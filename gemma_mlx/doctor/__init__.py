"""`gemma-mlx doctor`: what this machine, its packages and the model files are like, and what to do about it.

`checks` (read this first) gathers findings. `system`, `memory`, `files` and `capture` judge plain facts; `macos`,
`linux`, `permissions` and `builds` find those that only a system knows, a small function each. `golden` and `measure`
load the model.
"""
