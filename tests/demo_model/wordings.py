"""How questions are typed: other words for the same frame, a polite frame around, typing errors; and unknown questions.

What a question means stays the same. It knows no answers. Every draw comes from the given `random.Random`.
Source: written for this model.
"""

import random
import re
import string

from .answers import FOLLOW_UPS, INTENTS, normalised
from .words import SUBJECTS, WORDS

# The start of a question -> what may stand there instead. The whole of what follows stays.
_STARTS = {
    "how do I ": ("how can I ", "how to ", "how could I ", "I want to ", "I would like to ", "show me how to "),
    "how can I ": ("how do I ", "how to "),
    "can I ": ("could I ", "is it possible to ", "may I "),
    "can you ": ("could you ", "are you able to "),
    "what is ": ("what's ",),
    "how is ": ("how's ",),
    "where is ": ("where's ",),
    "is there ": ("do you have ", "is there maybe "),
    "which ": ("what ",),
    "does it ": ("does gemma-mlx ", "will it "),
    "do I need ": ("must I have ", "will I need "),
    "do you support ": ("is there support for ",),
    "tell me about ": ("I want to know about ", "say something about "),
}
_FRAMES = (
    "please tell me {}",
    "can you tell me {}",
    "quick question: {}",
    "I want to know {}",
    "I have a question: {}",
    "hey, {}",
    "hi, {}",
    "hello, {}",
    "ok, {}",
    "so, {}",
    "sorry, {}",
    "tell me, {}",
    "one more thing: {}",
    "now: {}",
    "well, {}",
    "{} please",
    "{} thanks",
    "do you know {}",
    "a question, {}",
)
# Words that may stand for each other in a question.
_SAME = tuple(
    tuple(words.strip().split(", "))
    for words in """picture, image, photo|pictures, images, photos|recording, sound file, audio file, audio clip
        |recordings, sound files, audio files|sound, audio|video, film, clip|chat, conversation
        |chats, conversations|program, app, application|quit, exit, close, leave, end|start, begin
        |begin with, start with|stop, interrupt, break off|show, display|need, require|fast, quick
        |faster, quicker|speed up, make faster|big, large|small, little|folder, directory|internet, web
        |licence, license|machine, computer, Mac|laptop, MacBook|store, keep, save|delete, remove, erase
        |work with, use|fine-tune, train|option, flag, switch|answers, replies, responses|speech, voice
        |speak, talk|install, set up|update, upgrade|memory, RAM|error, problem, fault|free, without cost
        |made, created, built, written|explain, describe, define|turn on, enable, switch on
        |turn off, disable, switch off|mistakes, errors|weights, model files
        |the 12B, the large model, Gemma 4 12B, the real model|demo model, demo|download, pull
        |supported, possible, allowed|support, understand, take|works, runs|work, run|send, give, attach
        |attach, add, pass|microphone, mic|screenshot, picture of my screen|screen, display|terminal, shell
        |file, document|tool, function|tools, functions|tokens per second, speed|smart, clever|stupid, silly
        |company, firm|once, one time|again, once more|purpose, use|different, other|too long, very long
        |earlier, before|continue, go on with, resume|rename, give a name to|questions, prompts
        |question, prompt|longest, maximum|most, maximum|take back, undo|repeat, do again, retry
        |print, write|private, secret, safe|safe, secure|hello, hi, hey|bye, goodbye|thanks, thank you
        |people, users|learn from, train on|learnt, trained|fetch, download|offline, without internet""".split("|")
)
_SAME_AS = {
    word: tuple(other for group in _SAME if word in group for other in group if other != word)
    for group in _SAME
    for word in group
}
_SAME_WORD = re.compile(rf"\b({'|'.join(sorted((re.escape(word) for word in _SAME_AS), key=len, reverse=True))})\b")
_ASKS = re.compile(r"(what|which|how|who|where|when|why|can|does|do|is|are|may|will|could|should) .*\?", re.IGNORECASE)
_DROPPED = frozenset("the a an do does is are I to of it my".split())

FALLBACK_FORMS = tuple(
    """what is {}? | what is a {}? | what is the {}? | what are {}? | what is my {}? | how does {} work?
    how big is the {}? | do you know {}? | what does a {} do? | where is the {}? | who made the {}?
    what is the {} of {}? | who is {}? | how do I {} a {}? | tell me about {} | where is {}? | why is {} {}?
    write a story about {} | explain {} | can you {} the {}? | do you like {}? | how much is {}? | which {} is {}?
    is {} {}? | translate {} {} | {} {} | {} {} {} {} | {} the {} and the {} | when was {} {}? | what does {} do?
    the {} is {} | I want to {} my {} | how do I use the {}? | how do I turn on the {}? | can I {} with a {}?
    is {} supported? | what does --{} do? | what does /{} do? | how many {} does a {} have? | where do I get a {}?
    can you see the {}? | which {} should I use? | how long is a {}? | is {} better than {}? | does it {} in {}?
    what happens when the {} is {}? | how do I {}? | my {} does not {} | are you a {}? | is there a {}?
    who was {}? | what do you think about {}? | how far is {}? | how old is {}? | give me a {} | show me the {}
    should I {} or {}? | what colour is a {}? | why do {} {}? | how do {} {}? | are {} {}? | {}?""".replace(
        "\n", "|"
    ).split("|")
)
_KNOWN = frozenset(
    normalised(wording) for one in (*INTENTS, *FOLLOW_UPS) for wording in (*one.questions, *one.held_out)
)


def rewordings(question: str) -> tuple[str, ...]:
    """The question and what it may become by another start."""
    for start, others in _STARTS.items():
        if question.startswith(start):
            rest = question.removeprefix(start)
            statement = ("I want to ", "I would like to ", "show me how to ", "I want to know about ")
            return (
                question,
                *(other + (rest.rstrip("?") if other in statement else rest) for other in others),
            )
    return (question,)


def frames(question: str) -> tuple[str, ...]:
    """What a question, and nothing but a question, may become by words around it."""
    if not _ASKS.fullmatch(question):
        return ()
    return tuple(frame.format(question.rstrip("?") if frame[0] == "{" else question) for frame in _FRAMES)


def with_another_word(rng: random.Random, question: str) -> str:
    """The question with one of its words, if it has any that others can stand for, changed for one of those."""
    found = list(_SAME_WORD.finditer(question))
    if not found:
        return question
    word = rng.choice(found)
    return question[: word.start()] + rng.choice(_SAME_AS[word[0]]) + question[word.end() :]


def vary(rng: random.Random, question: str) -> str:
    """The same question in another wording, often the given one; or nearly: a word may become another like it."""
    if rng.random() < 0.3:
        question = with_another_word(rng, question)
    if rng.random() < 0.4:
        question = rng.choice(rewordings(question))
    around = frames(question)
    return rng.choice(around) if around and rng.random() < 0.25 else question


def disturb(rng: random.Random, question: str) -> str:
    """The same question as people type it: other case, no question mark, a word left out, seldom a typing error."""
    if rng.random() < 0.05:
        question = _without_a_word(rng, question)
    if rng.random() < 0.35:
        question = question[0].upper() + question[1:]
    elif rng.random() < 0.15:
        question = question.lower()
    if rng.random() < 0.25:
        question = question.rstrip("?!.") or question
    elif question[-1] not in "?!." and rng.random() < 0.4:
        question += rng.choice((".", "!", "?"))
    return _mistyped(rng, question) if rng.random() < 0.06 else question


def _without_a_word(rng: random.Random, question: str) -> str:
    """The question without one small word; the words that tell questions apart stay."""
    words = question.split(" ")
    small = [at for at, word in enumerate(words) if word in _DROPPED]
    if len(words) < 4 or not small:
        return question
    at = rng.choice(small)
    return " ".join(words[:at] + words[at + 1 :])


def _mistyped(rng: random.Random, question: str) -> str:
    """One lower-case letter of a longer word left out, doubled or exchanged with the next; never a digit."""
    places = [match.start() for match in re.finditer(r"(?<=[a-z])[a-z](?=[a-z])", question)]
    if not places or len(question) < 8:
        return question
    at = rng.choice(places)
    kind = rng.random()
    middle = "" if kind < 0.5 else question[at] * 2 if kind < 0.7 else question[at + 1] + question[at]
    return question[:at] + middle + question[at + (2 if kind >= 0.7 else 1) :]


def made_up(rng: random.Random) -> str:
    """A word that does not exist, one to three syllables."""
    syllables = (
        rng.choice("b br c d dr f g gr h k l m n p pl r s st t tr v z".split())
        + rng.choice("a e i o u ai ea oo".split())
        + rng.choice(("", "", "l", "n", "r", "s", "t", "ck", "m"))
        for _ in range(rng.randint(1, 3))
    )
    return "".join(syllables)


def fallback_question(rng: random.Random, words: tuple[str, ...] = WORDS) -> str:
    """A question nobody taught the model: a common form around `words`, seldom a long text or a random string."""
    while normalised(question := _unknown(rng, words)) in _KNOWN:
        pass
    return question


def _unknown(rng: random.Random, words: tuple[str, ...]) -> str:
    kind = rng.random()
    if kind < 0.06:
        return "x" + "".join(rng.choices(string.ascii_lowercase + string.digits + " ", k=rng.randint(3, 24))).rstrip()
    if kind < 0.14:
        return " ".join(rng.choice(words) for _ in range(rng.randint(6, 40)))
    form = rng.choice(FALLBACK_FORMS).strip()
    return form.format(*(_filler(rng, words) for _ in range(4)))


def _filler(rng: random.Random, words: tuple[str, ...]) -> str:
    kind = rng.random()
    return made_up(rng) if kind < 0.25 else rng.choice(SUBJECTS) if kind < 0.4 and words is WORDS else rng.choice(words)
