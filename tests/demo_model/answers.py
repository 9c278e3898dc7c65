"""What the demo model says: fixed questions and answers, read from `questions.toml`, and the fallback.

Wordings of the split "held_out" are never trained on. It knows nothing of names, styles and typing errors:
`conversations` adds them. Source: written for this model, after the README.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class Intent:
    """Several ways to ask for one fixed answer. `after`: the id of the intent that it follows up, else empty.
    `tokenized`: how many of the questions, from the first on, the tokenizer was made of."""

    name: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    thought: str
    after: str = ""
    tokenized: int = 0

    def wordings(self, split: Split) -> tuple[str, ...]:
        return self.questions if split == "train" else self.held_out


FALLBACK = (
    "I am only the small demo model and do not know that. Run gemma-mlx pull to get Gemma 4 12B for real answers."
)
FALLBACK_THOUGHT = "This is none of the few things I know."


def _wordings(text: str) -> tuple[str, ...]:
    parts = (part.strip() for part in re.split(r"[|\n]", text))
    return tuple(part for part in parts if part)


def _intent(entry: dict[str, str]) -> Intent:
    name = entry.get("id", f"{entry.get('after')}: {entry['answer']}")
    questions, more, held_out = map(_wordings, (entry["train"], entry.get("more", ""), entry["held_out"]))
    after = entry.get("after", "")
    return Intent(name, questions + more, held_out, entry["answer"], entry["thought"], after, len(questions))


_TABLES = tomllib.loads((Path(__file__).parent / "questions.toml").read_text(encoding="utf-8"))
INTENTS = tuple(_intent(entry) for entry in _TABLES["intent"])
FOLLOW_UPS = tuple(_intent(entry) for entry in _TABLES["follow_up"])
BY_NAME = {intent.name: intent for intent in INTENTS}


def normalised(wording: str) -> str:
    """The wording without case, punctuation and spacing: what makes two wordings the same."""
    return " ".join(re.findall(r"[a-z0-9_+-]+", wording.lower()))
