"""Live listening: what a microphone hears reaches the model while it is spoken. A thread listens, another owns the
model, and an inbox lies between them."""
