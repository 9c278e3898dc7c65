"""What the suites of `gemma-mlx bench` are called and what they are, in the order in which they run. Imports nothing of
theirs: it is read for `--help`.
"""

from collections.abc import Mapping
from typing import NamedTuple


class About(NamedTuple):
    """For people: the title of a section, what it tells, and what is measured in a few words."""

    title: str
    tells: str
    briefly: str


SUITES: Mapping[str, About] = {
    "load": About(
        "Loading",
        "From a directory until its weights are in memory, in a new process each time.",
        "weights into memory",
    ),
    "prefill": About(
        "Reading a prompt",
        "Tokens of a prompt that are read in a second, by its length.",
        "reading 128 to 32,768 tokens",
    ),
    "decode": About(
        "Writing",
        "Tokens that are written in a second, by the tokens already in the context.",
        "writing after 0 to 32,768 tokens",
    ),
    "drafter": About(
        "Writing with a drafter",
        "Without it, at fixed depths, and with the depth chosen as it goes.",
        "plain, fixed depths, chosen depth; prose, code, list",
    ),
    "image": About(
        "A question about a picture",
        "Until the first token of the answer.",
        "a question about a picture at 280, 560 and 1,120 tokens",
    ),
    "audio": About(
        "A question about a recording", "Until the first token of the answer.", "a recording of 5, 15 and 29 s"
    ),
    "voice": About(
        "A voice turn", "From the end of speech to the first text.", "from the end of speech to the first text, live"
    ),
    "turn": About("The second turn", "With the first one still in the cache.", "the second turn of a conversation"),
    "resume": About("A conversation resumed", "Opened from its file, beside reading it again.", "a saved conversation"),
    "conversion": About("Conversion", "Quantized files from published ones.", "bfloat16 to 4 bits"),
    "memory": About("Memory", "What is taken at most, beside what was predicted.", "the peak, planned and measured"),
    "profile": About(
        "Where the time goes",
        "Nodes of the graph, time of the host, bytes read.",
        "nodes of the graph, host time and bytes for each token",
    ),
}
