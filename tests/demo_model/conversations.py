"""Conversations drawn from the fixed answers and the fallback: one turn or several, system texts, thinking.

Text only; pictures and sounds are in `pictures` and `sounds`. Every draw comes from the given `random.Random`, so a
seed fixes the data. Wordings, names and unknown words of the split "held_out" are never drawn for "train".
Source: written for this model.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import asking
from .answers import BY_NAME, FALLBACK, FALLBACK_THOUGHT, FOLLOW_UPS, INTENTS, Intent, Split, normalised
from .wordings import disturb, fallback_question, made_up, vary
from .words import HELD_OUT, HELD_OUT_NAMES, NAMES, WORDS


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
NAME_FORMS: dict[Split, tuple[str, ...]] = {
    "train": (
        "my name is {}",
        "I am {}",
        "call me {}",
        "hello, my name is {}",
        "hi, I am {}",
        "I am called {}",
        "hey, this is {}",
        "you can call me {}",
        "my name's {}",
    ),
    "held_out": ("hi, my name is {}", "please call me {}", "hello, I am {}"),
}
_FALLBACK_SHARE = 0.2
_HELD_OUT = frozenset(normalised(wording) for one in (*INTENTS, *FOLLOW_UPS) for wording in one.held_out)
_ANSWERS = {normalised(wording): one.answer for one in INTENTS for wording in one.questions}


def _without_media(asked: dict[str, str], others: dict[str, str]) -> tuple[str, ...]:
    """What is asked about a medium of one kind only: without it, the reply is that there is none."""
    mine, theirs = ("|".join(each.values()).split("|") for each in (asked, others))
    return tuple(question for question in mine if question not in theirs)


WITHOUT_MEDIA = {
    "no_picture": _without_media(asking.PICTURE, asking.SOUND),
    "no_recording": _without_media(asking.SOUND, asking.PICTURE),
}

_WITHOUT_MEDIA_ANSWERS = tuple(BY_NAME[name].answer for name in WITHOUT_MEDIA)


def answered(intent: Intent, question: str) -> Turn:
    return Turn(question, intent.answer, intent.thought)


def _means_another(question: str, intent: Intent) -> bool:
    """Whether that is a held-out wording, or one of another intent."""
    known = normalised(question)
    return known in _HELD_OUT or _ANSWERS.get(known, intent.answer) != intent.answer


def _asked(rng: random.Random, intent: Intent, split: Split) -> Turn:
    """One wording of the intent, as people type it; a held-out wording is left as it is, and never drawn by chance."""
    known = intent.wordings(split)
    question = rng.choice(known if split == "held_out" else (*known, *WITHOUT_MEDIA.get(intent.name, ())))
    if split == "held_out":
        return answered(intent, question)
    while _means_another(typed := disturb(rng, vary(rng, question)), intent):
        pass
    return answered(intent, typed)


def _unknown(rng: random.Random, split: Split) -> Turn:
    question = fallback_question(rng, WORDS if split == "train" else HELD_OUT)
    if split == "train":
        question = disturb(rng, vary(rng, question))
    return Turn(question, FALLBACK, FALLBACK_THOUGHT)


def plain_turn(rng: random.Random, split: Split = "train") -> Turn:
    """A known question or one that gets the fallback."""
    if rng.random() < _FALLBACK_SHARE:
        return _unknown(rng, split)
    return _asked(rng, rng.choice(INTENTS), split)


def turn_beside_media(rng: random.Random) -> Turn:
    """A plain turn of a conversation with a picture or a recording: one that does not ask for either."""
    while (turn := plain_turn(rng)).answer in _WITHOUT_MEDIA_ANSWERS:
        pass
    return turn


def _draw_name(rng: random.Random, split: Split) -> str:
    """A name; often one that nobody has, so that names are copied and not known."""
    if split == "held_out":
        return rng.choice(HELD_OUT_NAMES)
    while (name := rng.choice(NAMES) if rng.random() < 0.4 else made_up(rng).capitalize()) in HELD_OUT_NAMES:
        pass
    return name


def _name_turns(rng: random.Random, split: Split) -> tuple[Turn, ...]:
    """The user gives a name, perhaps asks something else, then asks for the name."""
    name = _draw_name(rng, split)
    told = rng.choice(NAME_FORMS[split]).format(name)
    if split == "train" and rng.random() < 0.5:
        told = told[0].upper() + told[1:] + rng.choice(("", ".", "!"))
    between = tuple(_nameless(rng, split) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
    asked = _asked(rng, BY_NAME["name"], split)
    last = Turn(asked.question, f"Your name is {name}.", asked.thought)
    return (Turn(told, f"Nice to meet you, {name}!", "The user tells me a name."), *between, last)


def _nameless(rng: random.Random, split: Split) -> Turn:
    while (turn := plain_turn(rng, split)).thought == BY_NAME["name"].thought:
        pass
    return turn


def _follow_up_turns(rng: random.Random, split: Split) -> tuple[Turn, ...]:
    """A question and one that only makes sense after it; sometimes without the first, which gets the fallback."""
    follow = rng.choice(FOLLOW_UPS)
    last = _asked(rng, follow, split)
    if rng.random() < 0.85:
        return (_asked(rng, BY_NAME[follow.after], split), last)
    lost = replace(last, answer=FALLBACK, thought=FALLBACK_THOUGHT)
    return (lost,) if rng.random() < 0.5 else (_asked(rng, BY_NAME["hello"], split), lost)


def _first_sentence(answer: str) -> str:
    end = re.search(r"(?<=\w[.!?]) (?=[A-Z-])", answer)
    return answer[: end.start()] if end else answer


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


def _draw_turns(rng: random.Random, split: Split) -> tuple[Turn, ...]:
    kind = rng.random()
    if kind < 0.14:
        turns = _name_turns(rng, split)
        return turns if rng.random() < 0.7 else turns[:-1]
    if kind < 0.3:
        return _follow_up_turns(rng, split)
    return tuple(plain_turn(rng, split) for _ in range(1 if kind < 0.82 else rng.randint(2, 4)))


def draw(rng: random.Random, split: Split = "train") -> Conversation:
    """One conversation: mostly a single turn, sometimes several, sometimes with a system text or with thinking."""
    turns = _draw_turns(rng, split)
    system = draw_system(rng)
    return Conversation(tuple(styled(turn, system) for turn in turns), system, rng.random() < 0.25)


def held_out_questions() -> list[tuple[str, str]]:
    """Every held-out wording of a single question, with its answer."""
    return [(question, intent.answer) for intent in INTENTS for question in intent.held_out]


def held_out_follow_ups() -> list[Conversation]:
    """Every held-out wording of a question that follows another; the first question is a known one."""
    return [
        Conversation((answered(BY_NAME[one.after], BY_NAME[one.after].questions[0]), answered(one, question)))
        for one in FOLLOW_UPS
        for question in one.held_out
    ]
