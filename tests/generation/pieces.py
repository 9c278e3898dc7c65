"""A tokenizer made for tests of the text stream, and what a caller does with the stream."""

import random
from collections.abc import Iterable, Mapping, Sequence

from gemma_mlx.generation.channels import ChannelStream, StreamEvent
from gemma_mlx.generation.events import Channel, TextDelta
from gemma_mlx.inputs.tokenizer import CONTROL_TOKENS


class Pieces:
    """Ids below 256 are bytes, from 300 on the given strings, from 1000 on control tokens."""

    specials: Mapping[str, int] = {literal: 1000 + index for index, literal in enumerate(CONTROL_TOKENS)}
    vocab_size = 2000

    def __init__(self, pieces: Sequence[str | bytes] = ()) -> None:
        encoded = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
        self.pieces = dict(enumerate(encoded, 300))

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else self.pieces.get(token, b"")

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")


def ids(*parts: str) -> list[int]:
    """Control tokens, where a part is the literal of one, and the bytes of all other parts."""
    return [
        token for part in parts for token in ([Pieces.specials[part]] if part in Pieces.specials else part.encode())
    ]


def fed(stream: ChannelStream, tokens: Iterable[int]) -> list[StreamEvent]:
    """All events, the way a caller takes them: until a stop string, then the rest."""
    events = []
    for token in tokens:
        events += stream.push(token)
        if stream.stopped:
            break
    return events + stream.finish()


def joined(events: Iterable[StreamEvent], channel: Channel = "answer") -> str:
    """The text of a channel."""
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.channel == channel)


def random_text(rng: random.Random, longest: int = 40) -> str:
    """Characters of one to four bytes, parts of control tokens' literals among them."""
    alphabets = [
        "abc XYZ,.\n",
        "äßéñøÅ",
        "中文字漢字",
        "🙂👩‍🚀🏳️‍🌈e\u0301",
        "<|turn>channel",
        "{}[]:,\"'",
        "\u0000\u007f\u0080\uffff\U0010ffff",
    ]
    return "".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.randrange(longest)))
