"""What a person sees: replies as plain text or as Markdown on a terminal, the loop of `chat`, its prompt.

`repl` reads lines and runs commands on a surface: `plain` (pipes, simple terminals) or `interactive`. Knows events and
lines: not options, weights or arrays.
"""
