"""What `gemma-mlx bench` measures: a file for each kind of thing; `catalogue` names them."""
