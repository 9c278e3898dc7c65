"""Conversations drawn from the fixed answers and the fallback: one turn or several, system texts, thinking.

Text only; pictures and sounds are in `pictures` and `sounds`. Every draw comes from the given `random.Random`, so a
seed fixes the data. Source: written for this model.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from .answers import FALLBACK, FALLBACK_THOUGHT, INTENTS, Intent
from .words import NAMES, SUBJECTS, WORDS


@dataclass(frozen=True)
class Turn:
    """One question and the reply to it. `thought` is what the reply starts with when thinking is on."""

    question: str
    answer: str
    thought: str


@dataclass(frozen=True)
class Conversation:
    """Turns in order; the last one is what is asked now."""

    turns: tuple[Turn, ...]
    system: str | None = None
    thinking: bool = False


PIRATE = "Talk like a pirate."
BRIEF = "Be brief."
OTHER_SYSTEMS = ("You are a helpful assistant.", "Answer the user.", "You are gemma-mlx.", "Use simple words.")

_FALLBACK_FORMS = (
    "what is {}?",
    "what is a {}?",
    "what is the {}?",
    "what are {}?",
    "what is my {}?",
    "how does {} work?",
    "how big is the {}?",
    "do you know {}?",
    "what does a {} do?",
    "where is the {}?",
    "who made the {}?",
    "what is the {} of {}?",
    "who is {}?",
    "how do I {} a {}?",
    "tell me about {}",
    "where is {}?",
    "why is {} {}?",
    "write a story about {}",
    "explain {}",
    "can you {} the {}?",
    "do you like {}?",
    "how much is {}?",
    "which {} is {}?",
    "is {} {}?",
    "translate {} {}",
    "{} {}",
    "{} {} {} {}",
    "{} the {} and the {}",
    "when was {} {}?",
    "what does {} do?",
    "the {} is {}",
    "I want to {} my {}",
)


def fallback_question(rng: random.Random, words: tuple[str, ...] = WORDS) -> str:
    """A question nobody taught the model: a common form around `words`, seldom a long text or a random string."""
    kind = rng.random()
    if kind < 0.08:
        return "x" + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz 0123456789", k=rng.randint(3, 24)))
    if kind < 0.2:
        return " ".join(rng.choice(words) for _ in range(rng.randint(6, 40)))
    form = rng.choice(_FALLBACK_FORMS)
    return form.format(*(rng.choice(words) if rng.random() < 0.8 else rng.choice(SUBJECTS) for _ in range(4)))


def disturb(rng: random.Random, question: str) -> str:
    """The same question as people type it: other case, no question mark, an extra word, seldom a typing error."""
    if rng.random() < 0.35:
        question = question[0].upper() + question[1:]
    elif rng.random() < 0.15:
        question = question.lower()
    if rng.random() < 0.25:
        question = question.rstrip("?!.")
    elif question[-1] not in "?!." and rng.random() < 0.4:
        question += rng.choice((".", "!", "?"))
    if rng.random() < 0.06 and len(question) > 6:
        at = rng.randrange(1, len(question) - 1)
        question = question[:at] + question[at + 1 :]
    return question


def answered(intent: Intent, question: str) -> Turn:
    return Turn(question, intent.answer, intent.thought)


def plain_turn(rng: random.Random) -> Turn:
    """A known question or one that gets the fallback."""
    if rng.random() < 0.3:
        return Turn(disturb(rng, fallback_question(rng)), FALLBACK, FALLBACK_THOUGHT)
    intent = rng.choice(INTENTS)
    return answered(intent, disturb(rng, rng.choice(intent.questions)))


def _name_turns(rng: random.Random) -> tuple[Turn, ...]:
    """The user gives a name, perhaps asks something else, then asks for the name."""
    name = rng.choice(NAMES)
    form = rng.choice(
        ("my name is {}", "I am {}", "call me {}", "hello, my name is {}", "hi, I am {}", "I am called {}")
    )
    told = Turn(disturb(rng, form.format(name)), f"Nice to meet you, {name}!", "The user tells me a name.")
    between = tuple(_nameless(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
    question = disturb(rng, rng.choice(("what is my name?", "do you know my name?", "who am I?")))
    return (told, *between, Turn(question, f"Your name is {name}.", "I look for a name."))


def _nameless(rng: random.Random) -> Turn:
    while (turn := plain_turn(rng)).thought == INTENTS[-1].thought:
        pass
    return turn


def _first_sentence(answer: str) -> str:
    ends = [answer.find(mark) for mark in (". ", "! ", "? ") if mark in answer]
    return answer[: min(ends) + 1] if ends else answer


_STYLES: dict[str, Callable[[str], str]] = {PIRATE: lambda answer: f"Arr! {answer}", BRIEF: _first_sentence}


def styled(turn: Turn, system: str | None) -> Turn:
    """The turn as the system text asks for it."""
    style = _STYLES.get(system or "")
    return replace(turn, answer=style(turn.answer)) if style else turn


def draw_system(rng: random.Random) -> str | None:
    kind = rng.random()
    if kind < 0.72:
        return None
    return PIRATE if kind < 0.8 else BRIEF if kind < 0.88 else rng.choice(OTHER_SYSTEMS)


def draw(rng: random.Random) -> Conversation:
    """One conversation: mostly a single turn, sometimes several, sometimes with a system text or with thinking."""
    kind = rng.random()
    if kind < 0.22:
        turns = _name_turns(rng)
        turns = turns if rng.random() < 0.7 else turns[:-1]
    else:
        turns = tuple(plain_turn(rng) for _ in range(1 if kind < 0.8 else rng.randint(2, 4)))
    system = draw_system(rng)
    return Conversation(tuple(styled(turn, system) for turn in turns), system, rng.random() < 0.25)
