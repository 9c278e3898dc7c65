"""One clip after the other read and answered by the model, each in a prompt of its own.

What stands before the sound is read once and kept; nothing of one clip is known to the next. Knows chats: not where
clips come from, nor what becomes of the text.
"""

from collections.abc import Callable
from contextlib import closing

from gemma_mlx.chat import Chat
from gemma_mlx.context.context import never
from gemma_mlx.generation.events import Finished
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.audio import FRAME_SAMPLES
from gemma_mlx.inputs.message import Audio, Message, Text
from gemma_mlx.loading import Gemma
from gemma_mlx.transcription.task import Task

GREEDY = Sampler(temperature=0)
LEAST_TOKENS = 64
TOKENS_PER_FRAME = 2  # 50 a second: the fastest speakers need some 10, in scripts without tokens of their own 40


def most_tokens(samples: int, task: Task) -> int:
    """Tokens that an answer may have: more than anybody can say in so many samples, twice that with a translation."""
    most = LEAST_TOKENS + TOKENS_PER_FRAME * -(-samples // FRAME_SAMPLES)
    return most if task.target is None else 2 * most


class Recogniser:
    """Answers a task for sound. Not for use by several threads at once."""

    def __init__(self, gemma: Gemma, task: Task, sampler: Sampler = GREEDY, draft_depth: int | None = None) -> None:
        """`draft_depth`: as for `Chat.reply`."""
        self._chat = Chat(gemma)
        self._task, self._sampler, self._draft_depth = task, sampler, draft_depth

    def __call__(self, audio: Audio) -> Finished:
        """The answer for this sound. Raises `GemmaError` if it does not fit."""
        answer = self.unless(never, audio)
        assert answer is not None, "nothing interrupts"
        return answer

    def unless(self, interrupted: Callable[[], bool], audio: Audio) -> Finished | None:
        """The answer for this sound; None if there was something better to do before it was there."""
        chat, most = self._chat, most_tokens(len(audio.samples), self._task)
        words = Text(self._task.prompt)
        if not chat.context.keys:
            self._read_ahead(words, audio)
        try:
            chat.add(words)
            chat.add(audio, read=False)
            chat.read_ahead(interrupted)
            if interrupted():
                return None
            with closing(chat.reply(sampler=self._sampler, max_tokens=most, draft_depth=self._draft_depth)) as events:
                ends = (event for event in events if isinstance(event, Finished) or interrupted())
                end = next(ends)
                return end if isinstance(end, Finished) else None
        finally:
            chat.undo()

    def _read_ahead(self, words: Text, audio: Audio) -> None:
        """Read what every prompt begins with, and remember where it ends."""
        prompt = self._chat.gemma.prompts.build([Message("user", (words, audio))])
        shared = len(prompt.segments[0].ids)
        self._chat.context.read(prompt, shared, marks=[shared])
