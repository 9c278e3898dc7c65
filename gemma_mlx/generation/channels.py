"""Token ids into events: whole characters of thought and answer, tool calls, stop strings.

What is a marker is decided by ids alone, so text that spells one in plain characters stays text, and no marker ever
reaches the text. A character whose bytes span tokens is held back until it is whole. Calls are cut out here and read
in `calls.py`; which tokens end the reply is the caller's business. Knows no models and no caches.
Source: the prompt format of Gemma 4 (`<|channel>thought⏎…<channel|>` before the answer, `<|tool_call>…<tool_call|>`).
"""

import codecs
import re
from collections.abc import Sequence
from itertools import takewhile

from gemma_mlx.generation.calls import CallText
from gemma_mlx.generation.events import BadCall, Channel, TextDelta
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.inputs.tokenizer import Tokenizer

_THINK, _ANSWER, _CALL, _CALLED, _DELIMITER = "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", '<|"|>'
# Where something else begins or ends, and with it a call that was not closed. Other markers are part of its damage.
_BOUNDARIES = {_THINK, _ANSWER, _CALL, "<|turn>", "<turn|>", "<|tool_response>", "<tool_response|>", "<eos>"}
# A channel's name is the line after its marker; what cannot become one is already the thought.
_CHANNEL_NAME = re.compile(r"[\w-]{0,32}[ \t\r]{0,8}")

StreamEvent = TextDelta | ToolCall | BadCall


class ChannelStream:
    """Feeds on ids, yields events in the order in which they were generated.

    A call is one `ToolCall` (without an id) or `BadCall`, also inside a thought, which it does not end. `stopped` turns
    true when a stop string was completed in the answer; nothing follows it. `channel` is where the prompt leaves the
    model: see `open_channel`.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), channel: Channel = "answer") -> None:
        self._bytes = tokenizer.token_bytes
        self._markers = {token: literal for literal, token in tokenizer.specials.items()}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(s for s in stop if s)
        self._name: str | None = None  # what was generated of a channel's name, while it may still be one
        self._held = ""  # end of the answer that may be the beginning of a stop string
        self._call: CallText | None = None
        self._parts: dict[Channel, list[str]] = {"answer": [], "thought": []}
        self.channel: Channel = channel
        self.calls: tuple[ToolCall, ...] = ()
        self.bad: tuple[BadCall, ...] = ()
        self.stopped = False

    def push(self, token: int) -> list[StreamEvent]:
        """Events of one more token: none, text that is complete, or a call that is."""
        if self.stopped:
            return []
        if token in self._markers:
            return self._marker(self._markers[token])
        if self._call is not None:
            self._call.add(self._bytes(token))
            return []
        return self._text(self._decoder.decode(self._bytes(token)))

    def finish(self) -> list[StreamEvent]:
        """What was held back: half a character as U+FFFD, half a stop string as itself, half a call as a bad one."""
        if self.stopped:
            return []
        events = self._cut_off(self._call, "the reply ends") if self._call else self._flush()
        return events + self._release()

    def text(self, channel: Channel = "answer") -> str:
        """All text of a channel so far, without calls."""
        return "".join(self._parts[channel])

    def _marker(self, literal: str) -> list[StreamEvent]:
        if self._call is None:
            return self._begin(literal)
        if literal in _BOUNDARIES:
            return self._cut_off(self._call, f"the control token {_plain(literal)!r} follows") + self._begin(literal)
        if literal == _CALLED:
            return self._end(self._call)
        if literal == _DELIMITER:
            self._call.delimiter()
        else:
            self._call.spoil(f"the control token {_plain(literal)!r} is inside it")
        return []

    def _begin(self, literal: str) -> list[StreamEvent]:
        """A channel or a call, if the marker begins one."""
        if literal not in (_THINK, _ANSWER, _CALL):
            return []
        events = self._flush()
        self._name = "" if literal == _THINK else None
        if literal == _CALL:
            events += self._release()
            self._call = CallText()
        else:
            self.channel = "thought" if literal == _THINK else "answer"
        return events

    def _cut_off(self, call: CallText, why: str) -> list[StreamEvent]:
        call.spoil(f"it is not closed: {why}")
        return self._end(call)

    def _end(self, call: CallText) -> list[StreamEvent]:
        self._call = None
        read = call.end()
        if isinstance(read, ToolCall):
            self.calls += (read,)
        else:
            self.bad += (read,)
        return [read]

    def _flush(self) -> list[StreamEvent]:
        """Half a character that nothing completes any more."""
        return self._text(self._decoder.decode(b"", final=True))

    def _release(self) -> list[StreamEvent]:
        """The beginning of a stop string that nothing completes any more."""
        held, self._held = self._held, ""
        return self._delta(held, "answer")

    def _text(self, text: str) -> list[StreamEvent]:
        if self._name is not None:
            text = self._after_name(self._name + text)
        if self.channel == "answer" and self._stop:
            text = self._before_stop(text)
        return self._delta(text, self.channel)

    def _delta(self, text: str, channel: Channel) -> list[StreamEvent]:
        if not text:
            return []
        self._parts[channel].append(text)
        return [TextDelta(text, channel)]

    def _after_name(self, text: str) -> str:
        """Text without the channel's name, nothing while that goes on."""
        name, newline, rest = text.partition("\n")
        is_name = _CHANNEL_NAME.fullmatch(name)
        self._name = text if is_name and not newline else None
        return rest if is_name else text

    def _before_stop(self, text: str) -> str:
        """Text that is certainly before a stop string; keeps back an end that may become one."""
        text = self._held + text
        # The one that is complete first, so that the end does not depend on where tokens cut the text.
        found = [(at + len(s), at) for s in self._stop if (at := text.find(s)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        held = max((n for s in self._stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def open_channel(ids: Sequence[int], tokenizer: Tokenizer) -> Channel:
    """The channel in which the model goes on after a prompt: "thought" if its turn has an open one, named already."""
    think, answer, turn = (tokenizer.specials.get(literal) for literal in (_THINK, _ANSWER, "<|turn>"))
    of_turn = takewhile(lambda token: token != turn, reversed(ids))
    last = next((token for token in of_turn if token in (think, answer)), None)
    return "thought" if last is not None and last == think else "answer"


def _plain(literal: str) -> str:
    """A marker's name, without what makes it a marker."""
    return literal.strip("<|>")
