"""Tasks that the demo model was not trained on: other fonts, voices, strings, wordings and names. One group per figure.

A task is an example whose reply is the right one. `share_right` judges all at once in torch, for training;
`check` lets the installed package answer.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from . import asking, calling, conversations, examples, sounds, speech
from .conversations import Conversation, Turn
from .examples import Collator, Example, Media
from .lean import Lean
from .pools import PicturePool, SpeechPool

SEED = 77
SNR = 15.0  # dB


def tasks(pools: Path, count: int) -> dict[str, list[Example]]:
    """At most `count` tasks of each kind, the same at every call. `pools` holds the held-out pools."""
    pictures, utterances = PicturePool(pools / "pictures_held_out"), SpeechPool(pools / "speech_held_out")
    rng, noise = random.Random(SEED), np.random.default_rng(SEED)
    shown = [i for i in range(len(pictures)) if 0 < len(pictures.texts[i]) <= 6]
    said = [int(i) for i in utterances.said if 1 <= (utterances.words[i] >= 0).sum() <= 3]
    longer = [int(i) for i in utterances.said if (utterances.words[i] >= 0).sum() > 3]
    rng.shuffle(shown)
    questions = conversations.held_out_questions()
    rng.shuffle(questions)
    return {
        "pictures": [picture(rng, pictures, i, "read") for i in shown[:count]],
        "pictures_asked": [picture(rng, pictures, i, "") for i in shown[:count]],
        "which": [which(rng, pictures, shown) for _ in range(count // 2)],
        "spoken": [spoken(rng, noise, utterances, i) for i in said[:count]],
        "spoken_4_5": [spoken(rng, noise, utterances, i) for i in longer[:count]],
        "both": [both(rng, noise, pictures, utterances, i) for i in shown[: count // 2]],
        "questions": [_alone(question, reply) for question, reply in questions[:count]],
        "conversations": [examples.example(conversations.draw(rng, "held_out")) for _ in range(count)],
        "calls": [calling.draw(rng, "held_out", ("call",)) for _ in range(count)],
        "told": [calling.draw(rng, "held_out", ("answer", "fallback", "talk")) for _ in range(count // 2)],
    }


def _alone(question: str, reply: str, media: tuple[Media, ...] = ()) -> Example:
    return examples.example(Conversation((Turn(question, reply, ""),)), media)


def _shown(pool: PicturePool, i: int) -> Media:
    return pool.media(i, pool.patches[pool.starts[i] : pool.starts[i + 1]])


def picture(rng: random.Random, pool: PicturePool, i: int, kind: str) -> Example:
    """Read picture `i`, or a question of any kind about it."""
    media, text = _shown(pool, i), pool.texts[i].decode()
    question, reply = asking.choose(rng, asking.PICTURE["read"]), text
    if not kind:
        question, reply = asking.about_picture(rng, text)
    return _alone(media.text + question, reply, (media,))


def which(rng: random.Random, pool: PicturePool, shown: Sequence[int]) -> Example:
    """Two small pictures: which one shows a text?"""
    small = [i for i in shown if int(pool.grids[i].prod()) <= 140]
    pair, wanted = rng.sample(small, 2), rng.randrange(2)
    media = tuple(_shown(pool, i) for i in pair)
    first, second = (pool.texts[i].decode() for i in pair)
    question = asking.choose(rng, asking.WHICH).format((first, second)[wanted])
    return _alone(media[0].text + media[1].text + question, asking.which_reply((first, second), wanted), media)


def _heard(noise: np.random.Generator, pool: SpeechPool, i: int) -> Media:
    return examples.audio(sounds.noise_at(pool.clean(i), SNR, noise))


def spoken(rng: random.Random, noise: np.random.Generator, pool: SpeechPool, i: int) -> Example:
    """Transcribe utterance `i` at 15 dB."""
    media = _heard(noise, pool, i)
    return _alone(asking.choose(rng, asking.SOUND["transcribe"]) + media.text, speech.written(pool.words[i]), (media,))


def both(
    rng: random.Random, noise: np.random.Generator, pictures: PicturePool, utterances: SpeechPool, i: int
) -> Example:
    """A spoken question about picture `i`."""
    asked = int(rng.choice(utterances.asked))
    media = (_shown(pictures, i), _heard(noise, utterances, asked))
    kind = asking.SPOKEN[int(utterances.questions[asked])]
    return _alone(media[0].text + media[1].text, asking.picture_reply(kind, pictures.texts[i].decode()), media)


def share_right(lean: Lean, collate: Collator, group: Sequence[Example]) -> float:
    """Share of tasks of which every reply token, `<turn|>` included, is the most probable one."""
    right = 0
    ordered = sorted(group, key=lambda one: sum(sum(part.counts) for part in one.media))
    with torch.no_grad():
        for start in range(0, len(ordered), 16):
            batch = collate(ordered[start : start + 16])
            hidden, _, _ = lean(batch)
            wanted = batch.targets[:, 1:]
            best = lean.logits(hidden[:, :-1]).argmax(-1)
            right += int(((best == batch.ids[:, 1:]) | ~wanted).all(1).sum())
    return round(right / max(1, len(group)), 3)
