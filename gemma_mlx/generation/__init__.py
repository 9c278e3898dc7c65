"""From hidden states to tokens to text."""
