"""Words, names and numbers that the demo model copies into tool calls, each of them in one split only.

A word or number belongs to "held_out" if its checksum says so and to "train" otherwise, whoever draws it and wherever
it comes from: lists or syllables. So nothing that held-out tasks ask to copy occurs in training. Most are made up, so
that copying is learnt and not a list. Knows no tools and no prompts. Source: written for this model.
"""

import random
import zlib
from collections.abc import Callable, Sequence

from .answers import Split
from .words import NAMES, WORDS

SPLITS: tuple[Split, Split] = ("train", "held_out")
_HELD_OUT_SHARE = 5  # one of so many

# Behind a space the tokenizer has other pieces for these than at the start of a value: " house", but "h", "ouse". To
# write them there is to spell, which is learnt word by word, and not to copy.
SPELT_ANEW = frozenset(
    """table house train plane law compiler password music actor colour star morning evening sentence sum square proof
    dog build repair send there""".split()
)
_PEOPLE = (
    *NAMES,
    *"""Anton Bella Chris David Elena Frank Hanna Ivan Julia Karl Laura Marie Nora Oscar Pia Robert Simon Theo Ute
    Victor Wendy Yara Mum Dad Ahmed Chen Diego Fatima Grandma Hiro Ines Jonas Kofi Lena Mateo Olga Priya Quinn
    """.split(),
)
_CITIES = (
    *"""Paris London Berlin Rome Madrid Vienna Zurich Oslo Lisbon Athens Dublin Prague Warsaw Moscow Cairo Tokyo Delhi
    Sydney Boston Chicago Dallas Denver Miami Toronto Lima Havana Nairobi Lagos Seoul Beijing Bangkok Hamburg Munich
    Geneva Milan Naples Venice Porto Lyon Bern Basel Malmo Helsinki Riga Vilnius Sofia Istanbul Dubai Mumbai""".split(),
    *("New York", "Los Angeles", "San Francisco", "Hong Kong", "Cape Town", "Buenos Aires", "Mexico City"),
)
_APPS = (
    *"""Safari Firefox Chrome Mail Notes Maps Music Photos Calendar Terminal Finder Preview Word Excel Slack Spotify
    Calculator Contacts Messages Reminders Books Clock Weather Zoom Steam Blender Photoshop Xcode Skype Signal
    """.split(),
    *("Google Chrome", "System Settings", "Text Editor", "App Store"),
)
_SKIES = """sunny cloudy rainy windy foggy snowy clear stormy dry wet hot cold warm cool mild dark bright misty icy
    humid grey freezing fair calm hazy dusty""".split()
_FAULTS = (  # of one split as wholes: their words are everybody's
    *("no such city", "no connection", "not allowed", "not found", "time is up", "the server is down", "no answer"),
    *("the disk is full", "no permission", "access denied", "not available", "it is broken", "the network is slow"),
    *("unknown name", "please try again", "the service is closed", "no results", "it took too long", "bad request"),
)
_BEFORE = ("New", "San", "Port", "Saint", "Old", "Los", "Cape")
_BEHIND = ("Studio", "Player", "Editor", "Pro", "Settings", "Store")
_ENDINGS = (".txt", ".pdf", ".py", ".md", ".png", ".csv", ".doc", ".json")
_FIRST = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl pr sh sk sl st th tr".split()
_FIRST.append("")
_MIDDLE = "a e i o u a e i o ai ea ee ou y".split()
_LAST = "l m n r s t k d x nd rt st ck".split() + [""] * 16
_TEXTS = {
    "train": """I am late|call me|see you at {n}|the {w} is ready|bring the {w}|I am at the {w}|we need a {w}|good {w}
        |no {w} today|please buy {n} {w}|where is the {w}?|I love the {w}|my {w} is {w}|{w} and {w}|the {w} and the {w}
        |meet me at {n}|{w}|{w} {w}|{w} {w} {w}|{m}|{m} {w}|{w} {m} {w}|dinner is at {n}|are you at the {w}?|yes|no
        |I have {n} {w}|can you find the {w}?|{w}!|thank you|the {w} starts at {n}|I will be at the {m}""",
    "held_out": """I see a {w}|take the {w}|the {w} is at {n}|we have no {w}|is the {w} ready?|{w}, {w} and {w}
        |{w} {w} {w} {w}|my {m} is ready|I need {n} {w}|{m} {m}|the {m} is late""",
}


def split_of(text: str | int) -> Split:
    """The split to which a word or number belongs, in upper or lower case."""
    if str(text).casefold() in SPELT_ANEW:
        return "train"
    return SPLITS[zlib.crc32(str(text).casefold().encode()) % _HELD_OUT_SHARE == 0]


def _parted(texts: Sequence[str]) -> dict[Split, tuple[str, ...]]:
    """Texts of which every word but those in front of made-up names is of one split; others are left out."""
    return {
        split: tuple(
            text for text in texts if all(split_of(word) == split for word in text.split() if word not in _BEFORE)
        )
        for split in SPLITS
    }


_LISTS = {
    kind: _parted(texts)
    for kind, texts in {
        "person": _PEOPLE,
        "city": _CITIES,
        "app": _APPS,
        "sky": _SKIES,
        "word": tuple(dict.fromkeys(WORDS)),
    }.items()
}
_KEPT_BACK = tuple(
    dict.fromkeys(part.lower() for kind in _LISTS.values() for each in kind["held_out"] for part in each.split())
)
_LISTS["fault"] = {split: tuple(text for text in _FAULTS if split_of(text) == split) for split in SPLITS}


def number(rng: random.Random, split: Split, low: int = 1, high: int = 999) -> int:
    """A whole number, small ones as often as large ones."""
    while True:
        drawn = rng.randint(low, high if rng.random() < 0.5 else min(high, low + 60))
        if split_of(drawn) == split:
            return drawn


def made_up(rng: random.Random, split: Split) -> str:
    """A word of one to three syllables that is not in any language, in lower case. In training, some are nearly
    words that are held out: the pieces that a tokenizer makes of these must be written now and then, if they are ever
    to be copied."""
    while True:
        if split == "train" and rng.random() < 0.6:
            drawn = _nearly_a_word(rng)
            if split_of(drawn) == split:
                return drawn
            continue
        count = rng.choice((1, 2, 2, 2, 3))
        drawn = "".join(rng.choice(_FIRST) + rng.choice(_MIDDLE) + rng.choice(_LAST) for _ in range(count))
        if len(drawn) > 2 and split_of(drawn) == split:
            return drawn


def _nearly_a_word(rng: random.Random) -> str:
    """A held-out word or name with another beginning or end."""
    known = rng.choice(_KEPT_BACK)
    if rng.random() < 0.5:
        return known + rng.choice(_MIDDLE) + rng.choice(_LAST)
    return rng.choice(_FIRST) + known[rng.choice((1, 1, 2)) :]


def word(rng: random.Random, split: Split) -> str:
    """A word of every day; in training, not always quite."""
    return made_up(rng, split) if split == "train" and rng.random() < 0.35 else rng.choice(_LISTS["word"][split])


def sky(rng: random.Random, split: Split) -> str:
    """What the weather is like."""
    return rng.choice(_LISTS["sky"][split]) if rng.random() < 0.85 else made_up(rng, split)


def fault(rng: random.Random, split: Split) -> str:
    """What went wrong."""
    if rng.random() < 0.6:
        return rng.choice(_LISTS["fault"][split])
    return rng.choice(("no {}", "the {} is {}", "{} not found", "unknown {}")).format(
        *(made_up(rng, split) if rng.random() < 0.4 else word(rng, split) for _ in range(2))
    )


def person(rng: random.Random, split: Split) -> str:
    """To whom."""
    return _name(rng, split, "person", 0.4)


def city(rng: random.Random, split: Split) -> str:
    """Where; seldom of two words, seldom in lower case."""
    if rng.random() < 0.1:
        return f"{rng.choice(_BEFORE)} {made_up(rng, split).capitalize()}"
    return _name(rng, split, "city", 0.4)


def app(rng: random.Random, split: Split) -> str:
    """A program."""
    if rng.random() < 0.1:
        return f"{made_up(rng, split).capitalize()} {rng.choice(_BEHIND)}"
    return _name(rng, split, "app", 0.35)


def _name(rng: random.Random, split: Split, kind: str, known: float) -> str:
    drawn = rng.choice(_LISTS[kind][split]) if rng.random() < known else _any(rng, split).capitalize()
    return drawn.lower() if rng.random() < 0.08 else drawn


def _any(rng: random.Random, split: Split) -> str:
    return made_up(rng, split) if rng.random() < 0.75 else word(rng, split)


def file_name(rng: random.Random, split: Split) -> str:
    """A name such as report.txt or tax-report.pdf."""
    stem = made_up(rng, split) if rng.random() < 0.5 else word(rng, split)
    if rng.random() < 0.2:
        stem += rng.choice("-_") + word(rng, split)
    return (stem.capitalize() if rng.random() < 0.1 else stem) + rng.choice(_ENDINGS)


def query(rng: random.Random, split: Split) -> str:
    """What to look for: a file's name, a word or two, a word and a number."""
    draws: tuple[Callable[[], str], ...] = (
        lambda: file_name(rng, split),
        lambda: _any(rng, split),
        lambda: f"{word(rng, split)} {word(rng, split)}",
        lambda: f"{made_up(rng, split)} {word(rng, split)}",
        lambda: f"{word(rng, split)} {number(rng, split)}",
    )
    return rng.choice(draws)()


def message(rng: random.Random, split: Split) -> str:
    """What to write to somebody: one to six words."""
    pieces = rng.choice([form.strip() for form in _TEXTS[split].split("|")]).split("{")
    draws: dict[str, Callable[[], str]] = {
        "w": lambda: word(rng, split),
        "m": lambda: made_up(rng, split),
        "n": lambda: str(number(rng, split, 1, 99)),
    }
    return pieces[0] + "".join(draws[piece[0]]() + piece[2:] for piece in pieces[1:])
