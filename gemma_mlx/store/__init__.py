"""Saved conversations: history and media, which are kept, and caches, which may go.

Read `saved` first. Everything is written beside its place and renamed, so that a program that ends at any moment
leaves the last whole state. Knows messages and files: not what a template makes of them, nor terminals.
"""
