"""What goes in: files, pixels, samples and strings to token ids and feature rows. numpy only, no MLX."""
