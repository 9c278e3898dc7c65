"""Where turns and replies begin in prompts, remembered, since to find out means to render another prompt.

Knows renderings and their lengths: not caches or models.
"""

from gemma_mlx.conversation import history as turns
from gemma_mlx.conversation.excerpt import Excerpt
from gemma_mlx.conversation.history import History
from gemma_mlx.inputs.prompt import Prompt


class Boundaries:
    """Of one conversation, whatever becomes of it."""

    def __init__(self) -> None:
        self._end: tuple[tuple[Excerpt, History], int] | None = None  # where a history ends, as rendered
        self._tails: dict[tuple[bool, bool], int] = {}  # tokens of a prompt that history drops

    def ends(self, excerpt: Excerpt, history: History, position: int) -> None:
        """The history as rendered ends there."""
        self._end = (excerpt, history), position

    def turn_start(self, excerpt: Excerpt, history: History, prompt: Prompt) -> int:
        """Where the user's turn after `history` begins in its prompt."""
        key = excerpt, history
        if self._end is None or self._end[0] != key:
            self._end = key, excerpt.end(history, prompt)
        return self._end[1]

    def reply_start(self, excerpt: Excerpt, asked: History, prompt: Prompt) -> int:
        """Where a reply begins in history, before the end of its prompt, which is always read anew: the generation
        prompt may go on with a thought that history drops."""
        kind = turns.goes_on(asked), excerpt.enable_thinking
        if kind not in self._tails:
            self._tails[kind] = prompt.n_tokens - excerpt.reply_start(asked, prompt)
        return prompt.n_tokens - max(1, self._tails[kind])
