"""Token ids into text events: whole characters, thoughts apart from the answer, stop strings.

Knows ids, the bytes they stand for and the channel markers: not models. No marker reaches the text, and a character
whose bytes span tokens is held back until it is whole. Source: the prompt format of Gemma 4 (`<|channel>thought⏎…
<channel|>` before the answer).
"""

import codecs
from collections.abc import Sequence

from gemma_mlx.generation.events import Channel, TextDelta
from gemma_mlx.inputs.tokenizer import Tokenizer

_OPEN, _CLOSE = "<|channel>", "<channel|>"


class TextStream:
    """Feeds on ids, yields `TextDelta`s; `stopped` turns true when a stop string was completed in the answer."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._bytes = tokenizer.token_bytes
        self._open, self._close = tokenizer.specials.get(_OPEN), tokenizer.specials.get(_CLOSE)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(s for s in stop if s)
        self._channel: Channel = "answer"
        self._label = False  # inside the channel's name, which ends with its line
        self._held = ""  # end of the answer that may be the beginning of a stop string
        self._parts: dict[Channel, list[str]] = {"answer": [], "thought": []}
        self.stopped = False

    def push(self, token: int) -> list[TextDelta]:
        """Events of one more token: none, or text that is complete."""
        if token == self._open or token == self._close:
            deltas = self._emit(self._decoder.decode(b"", final=True))
            self._channel, self._label = ("thought", True) if token == self._open else ("answer", False)
            return deltas
        return self._emit(self._decoder.decode(self._bytes(token)))

    def finish(self) -> list[TextDelta]:
        """What was held back: half a character as U+FFFD, half a stop string as itself."""
        deltas = self._emit(self._decoder.decode(b"", final=True))
        if self._held:
            deltas += self._delta(self._held, "answer")
            self._held = ""
        return deltas

    def text(self, channel: Channel = "answer") -> str:
        """All text of a channel so far."""
        return "".join(self._parts[channel])

    def _emit(self, text: str) -> list[TextDelta]:
        if self._label and text:
            _, newline, text = text.partition("\n")
            self._label = not newline
            if self._label:
                return []
        if self._channel == "answer" and self._stop:
            text = self._before_stop(text)
        return self._delta(text, self._channel)

    def _delta(self, text: str, channel: Channel) -> list[TextDelta]:
        if not text:
            return []
        self._parts[channel].append(text)
        return [TextDelta(text, channel)]

    def _before_stop(self, text: str) -> str:
        """Text that is certainly before a stop string; keeps back an end that may become one."""
        if self.stopped:
            return ""
        text = self._held + text
        # The one that is complete first, so that the end does not depend on where tokens cut the text.
        found = [(at + len(s), at) for s in self._stop if (at := text.find(s)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        held = max((n for s in self._stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]
