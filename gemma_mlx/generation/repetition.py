"""Does the model go round in circles? Decided from token ids as they come.

Exact repetition only: the tail is one block of ids, over and over. A counter or a changing word inside the block makes
it progress. Each token is compared with the one `p` before it for all `p` at once, so a token costs a few vector
operations of `LONGEST` numbers, whatever came before.
Knows nothing of text or models. The limits are a judgement: the longer a block, the fewer repeats are needed, and
thoughts, which nobody asked to repeat anything, need fewer than answers, where a person may want a line fifty times.
"""

import numpy as np

from gemma_mlx.generation.events import Channel

LONGEST = 1024  # tokens of a block


def repeats(period: int, channel: Channel) -> int:
    """How often a block of `period` tokens must follow itself, the first time included, to be a loop.

    In an answer: one token 256 times, a line of up to 16 tokens for 512 tokens, longer ones ever fewer times, a
    paragraph (from 28 tokens on) six times. In a thought half of that, and a paragraph four times.
    """
    scale, fewest = (1, 6) if channel == "answer" else (2, 4)
    most = min(256, 512 // period, 32 * 16**3 // period**3)
    return max(fewest, most // scale)


class LoopGuard:
    """Watches one reply. What goes round between thought and answer is a loop too, so a channel begins nothing anew."""

    def __init__(self) -> None:
        periods = range(1, LONGEST + 1)
        self._needed = {
            channel: np.array([p * (repeats(p, channel) - 1) for p in periods]) for channel in ("answer", "thought")
        }
        self._recent = np.full(LONGEST, -1)  # the newest first
        self._matched = np.zeros(LONGEST, int)  # at p - 1: how many of the last tokens equal the one p before

    def push(self, token: int, channel: Channel = "answer") -> str | None:
        """One more token, markers included, and the channel it belongs to.

        Returns the reason in words once it completes a loop, and again with each token that goes on so; else None.
        """
        self._matched = np.where(self._recent == token, self._matched + 1, 0)
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = token
        looping = np.flatnonzero(self._matched >= self._needed[channel])
        if not looping.size:
            return None
        # A block that is itself a smaller one repeated is judged as that: "ha ha" is no block of its own.
        best = np.maximum.accumulate(self._matched)
        for period in (looping + 1).tolist():
            if period == 1 or best[period - 2] < period:
                times = 1 + int(self._matched[period - 1]) // period
                block = "token" if period == 1 else f"{period} tokens"
                return f"the same {block} {times} times in a row"
        return None
