"""Checkpoints from the Hub: which ones, whether they are any good here, and how they come, whole or not at all.

Read `pull` first. Everything that huggingface_hub does is left to it: addresses, mirrors, proxies, tokens, offline mode
and its cache, which other programs share.
"""
