"""Python functions that a model may ask for: how they are declared, and the loop that runs them."""
