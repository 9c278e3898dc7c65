"""What a conversation is made of: turns, what of them is read, one reply, how far it drafts."""
