"""What training batches hold: labels that agree with the media, prompts as the package builds them, the right replies.

Drawn from small pools; pictures are lettered in the font that Pillow carries.
"""

import random
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from gemma_mlx.config import ModelConfig
from gemma_mlx.inputs import image
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, Video
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import load_tokenizer
from gemma_mlx.models import find_model
from tests.demo_model import asking, conversations, examples, fonts, mixture, pictures, pool_files, speech, strings
from tests.demo_model.answers import FALLBACK, INTENTS
from tests.demo_model.conftest import FAMILIES
from tests.demo_model.conversations import Turn
from tests.demo_model.examples import Collator, Example, Media
from tests.demo_model.mixture import Mixture, Step
from tests.demo_model.pools import PicturePool, SpeechPool
from tests.demo_model.schedule import STAGES, Stage

_FRAME = r"\d\d:\d\d <\|image><\|video\|><image\|>"
_MEDIA = re.compile(rf"({_FRAME}(?: {_FRAME})*|<\|image><\|image\|><image\|>|<\|audio><\|audio\|><audio\|>)")
_TURN = re.compile(r"<\|turn>(\w+)\n(.*?)<turn\|>\n", re.DOTALL)
_THOUGHT = re.compile(r"<\|channel>thought\n(.+)\n<channel\|>(.*)<turn\|>", re.DOTALL)
DRAWS = 120
ANSWERS = [intent.answer for intent in INTENTS]


class Recorded(Mixture):
    """A mixture that keeps what its pictures show and its recordings say."""

    def __init__(self, collate: Collator, pools: Path) -> None:
        super().__init__(collate, pools, seed=9, texts=200, calls=50)
        self.shown: dict[Media, str] = {}
        self.said: dict[Media, tuple[int, str]] = {}

    def picture(self) -> tuple[Media, str]:
        media, text = super().picture()
        self.shown[media] = text
        return media, text

    def utterance(self, questions: bool) -> tuple[Media, int, str]:
        media, question, words = super().utterance(questions)
        self.said[media] = question, words
        return media, question, words


@pytest.fixture(scope="module")
def collate() -> Collator:
    return Collator(find_model("demo"))


@pytest.fixture(scope="module")
def drawn(collate: Collator, pools: Path) -> Recorded:
    made = Recorded(collate, pools)
    made.whole_share = 0.6
    return made


@pytest.fixture(scope="module")
def steps(collate: Collator, pools: Path) -> list[Step]:
    """Batches from the beginning, the middle and the end of training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "DRAWN", 48)
        patch.setattr(mixture, "STRIPS", 20)
        patch.setattr(fonts, "available", lambda _: FAMILIES)
        made = Mixture(collate, pools, seed=2, texts=200, calls=50)
        evenly = Stage(1, dict.fromkeys(mixture.KINDS, 1), new=0.3)
        return [made.step(stage) for stage in (*STAGES, *[evenly] * 4) for _ in range(9)]


def _rows(pool: PicturePool, i: int) -> np.ndarray:
    return np.asarray(pool.patches[pool.starts[i] : pool.starts[i + 1]])


def test_glyph_labels_lie_where_the_characters_are(tmp_path: Path) -> None:
    rng = random.Random(3)
    texts = [strings.draw(rng, "train") for _ in range(12)]
    makers: list[Callable[[str], pictures.Painting]] = [
        lambda text: pictures.whole(rng, text, None, 70),
        lambda text: pictures.crop(rng, text, None),
        lambda text: pictures.easy(rng, text, None),
    ]
    painted = [makers[i % 3](text) for i, text in enumerate(texts)]
    pool_files.write(tmp_path, (pool_files.sample(one, 70) for one in painted))
    pool = PicturePool(tmp_path)
    for i, (painting, text) in enumerate(zip(painted, texts, strict=True)):
        media = pool.media(i, _rows(pool, i), (2, 5))
        patches, positions = image.patches(painting.pixels)
        assert (media.positions - positions == (2, 5)).all()
        assert media.counts == (len(positions),)
        assert (media.patches == patches[media.places]).all()
        assert media.labels is not None
        columns = painting.pixels.shape[1] // 48
        at = [int(y) * columns + int(x) for x, y in painting.centres // 48]
        assert set(np.flatnonzero(media.labels[:, 0])) == set(at) <= set(media.places)
        for index, row in enumerate(at):
            *glyphs, first = media.labels[row]
            if index - first < 3:
                assert strings.CHARACTERS[glyphs[index - first] - 1] == text[index]


def test_heard_words_come_one_after_the_other_and_not_before_they_are_said(drawn: Recorded, pools: Path) -> None:
    pool = SpeechPool(pools / "speech")
    for i in range(len(pool)):
        ids, bounds, count = pool.words[i], pool.bounds[i], len(pool.clean(i))
        known = [int(word) for word in ids if word >= 0]
        for factor in (1.0, 0.9, 1.12):
            samples, moved = mixture._faster(pool.clean(i), bounds, factor)
            assert len(samples) == int(count / factor)
            words, counts = mixture._heard(ids, moved, len(samples)).T
            assert len(words) == len(examples.audio(samples).frames)
            assert (np.diff(counts) >= 0).all()
            assert counts[-1] == len(known)
            assert [words[counts == number][0] for number in range(counts.max() + 1)] == [
                0,
                *(word + 1 for word in known),
            ]
            ends = 640 * (np.arange(len(counts)) + 1) * factor
            for number, (first, last) in enumerate(bounds[: len(known)]):
                assert (counts[ends <= first] <= number).all()
                assert (counts[ends > last] > number).all()


def _spans(mask: np.ndarray) -> Iterator[slice]:
    """The part of each row of a batch among the soft tokens of all."""
    end = 0
    for row in mask:
        yield slice(end, end := end + int(row.sum()))


def _replies(step: Step, collate: Collator) -> list[str]:
    pairs = zip(step.batch.ids, step.batch.targets, strict=True)
    return [collate.tokenizer.decode(ids[mask].tolist(), skip_special_tokens=False) for ids, mask in pairs]


def test_all_kinds_are_drawn_and_fit_into_a_batch(steps: list[Step]) -> None:
    assert {step.kind for step in steps} == set(mixture.KINDS)
    for step in steps:
        rows, length = step.batch.ids.shape
        assert rows == 1 or rows * length <= mixture.TOKENS
        assert (step.batch.targets.any(1) == (step.kind not in mixture.SENSING)).all()
        seen, heard = (step.batch.types == 1) | (step.batch.types == 2), step.batch.types == 3
        assert int(seen.sum()) == len(step.batch.positions) == len(step.glyphs)
        assert int(heard.sum()) == len(step.batch.frames) == len(step.words)
        assert len(step.batch.places) == len(step.batch.patches)


def test_labels_of_a_batch_belong_to_the_replies_of_their_rows(steps: list[Step], collate: Collator) -> None:
    seen = heard = 0
    for step in steps:
        types, replies = step.batch.types.numpy(), _replies(step, collate)
        assert set(np.flatnonzero(step.glyphs[:, 0].numpy() > 0)) <= set(step.batch.places.tolist())
        for span, reply in zip(_spans((types == 1) | (types == 2)), replies, strict=True):
            if found := re.search(r'(?:I see|It says) "(\w+)"', reply):
                labels = step.glyphs[span].numpy()
                for *glyphs, first in labels[labels[:, 0] > 0]:
                    text = "".join(strings.CHARACTERS[glyph - 1] for glyph in glyphs if glyph > 0)
                    assert found[1][first : first + len(text)] == text
                    seen += 1
        for span, reply in zip(_spans(types == 3), replies, strict=True):
            if found := re.search(r'I hear "(.+)"', reply):
                assert speech.written(_words(step, span)) == found[1]
                heard += 1
    assert seen > 20
    assert heard > 20


def _words(step: Step, span: slice) -> list[int]:
    return [word - 1 for (word, _), _ in groupby(step.words[span].tolist(), tuple) if word > 0]


def _messages(one: Example) -> tuple[list[Message], bool]:
    """What a person would have sent for this prompt, and whether thinking is on."""
    media, messages, thinking = iter(one.media), [], False
    for role, text in _TURN.findall(one.prompt):
        if role == "system":
            thinking = text.startswith("<|think|>\n")
            if text := text.removeprefix("<|think|>\n"):
                messages.append(Message.of("system", text))
        elif role == "model":
            messages.append(Message.of("assistant", text))
        else:
            parts = [_part(piece, media) for piece in _MEDIA.split(text) if piece]
            messages.append(Message("user", tuple(parts)))
    assert next(media, None) is None
    return messages, thinking


def _part(piece: str, media: Iterator[Media]) -> Part:
    if not _MEDIA.fullmatch(piece):
        return Text(piece)
    if "<|audio|>" in piece:
        return Audio("a.wav", next(media).frames.ravel())
    if "<|image|>" in piece:
        return Image("a.png", _pixels(next(media)))
    count = piece.count("<|video|>")
    return Video("a.mp4", tuple(_pixels(next(media)) for _ in range(count)), tuple(map(float, range(count))))


def _pixels(media: Media) -> np.ndarray:
    patches = np.zeros((len(media.positions), 6912), np.uint8)
    patches[media.places] = media.patches
    columns, rows = media.positions[-1] - media.positions[0] + 1
    return patches.reshape(rows, columns, 48, 48, 3).swapaxes(1, 2).reshape(48 * rows, 48 * columns, 3)


def _asked(one: Example) -> str:
    return _MEDIA.sub("", _TURN.findall(one.prompt)[-1][1])


def _about(one: Example) -> tuple[Media, ...]:
    """What is attached to the last turn with attachments."""
    counts = [len(re.findall(r"<\|(?:image|video|audio)\|>", text)) for role, text in _TURN.findall(one.prompt)]
    return one.media[-next(count for count in reversed(counts) if count) :]


def _answer(drawn: Recorded, one: Example) -> str:
    """What `asking` says to the last question of an example with media."""
    asked, about = _asked(one), _about(one)
    texts = [drawn.shown[media] for media in about if len(media.positions)]
    heard = [drawn.said.get(media, (-1, "")) for media in about if len(media.frames)]
    if texts and heard:
        assert not asked
        return asking.picture_reply(asking.SPOKEN[heard[0][0]], texts[0])
    if heard:
        if not asked:
            return asking.sound_reply("hear", heard[0][1])
        kinds = asking.SOUND | {"transcribe": "|".join((asking.SOUND["transcribe"], *asking.ASR))}
        return asking.sound_reply(_kind(kinds, asked), heard[0][1])
    if "<|video|>" in one.prompt:
        assert asked in asking.VIDEO.split("|")
        return asking.picture_reply("read", texts[0])
    if len(texts) == 2:
        forms = asking.WHICH.split("|")
        (index,) = (i for i, text in enumerate(texts) if text and asked in [form.format(text) for form in forms])
        return asking.which_reply((texts[0], texts[1]), index)
    return asking.picture_reply(_kind(asking.PICTURE, asked), texts[0])


def _is_plain(one: Example, system: str | None) -> bool:
    """Whether the last turn has no media and is answered as without any."""
    thought = _THOUGHT.fullmatch(one.reply)
    said = thought[2] if thought else one.reply.removesuffix("<turn|>")
    known = (conversations.styled(Turn("", answer, ""), system).answer for answer in (*ANSWERS, FALLBACK))
    return not _MEDIA.search(_TURN.findall(one.prompt)[-1][1]) and said in known


def _kind(wordings: dict[str, str], asked: str) -> str:
    (kind,) = (kind for kind, each in wordings.items() if asked in each.split("|"))
    return kind


KINDS: dict[str, Callable[[Recorded], Example]] = {
    "pictures": Mixture.picture_example,
    "speech": Mixture.sound_example,
    "both": Mixture.both_example,
    "talk": lambda drawn: examples.example(conversations.draw(drawn.rng, "train")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_those_of_the_package(kind: str, drawn: Recorded, collate: Collator) -> None:
    demo = find_model("demo")
    builder = PromptBuilder(load_tokenizer(demo), ChatTemplate.load(demo), ModelConfig.load(demo))
    traits = set()
    for _ in range(DRAWS):
        one = KINDS[kind](drawn)
        messages, thinking = _messages(one)
        built = builder.build(messages, enable_thinking=thinking)
        assert collate.ids(one)[0] == built.ids, one.prompt
        heard = [segment.features for segment in built.segments if segment.kind == "audio"]
        for frames, media in zip(heard, [part for part in one.media if len(part.frames)], strict=True):
            assert frames is not None
            assert (frames == media.frames).all()
        traits |= {f"thinking {thinking}", messages[0].role, f"{len(messages)} messages"}
    assert {"thinking True", "thinking False", "user", "system", "1 messages", "3 messages"} <= traits


@pytest.mark.parametrize("kind", ["pictures", "speech", "both"])
def test_replies_are_what_asking_says(kind: str, drawn: Recorded) -> None:
    replies, beside, mixed = [], 0, 0
    for _ in range(DRAWS):
        one = KINDS[kind](drawn)
        messages, thinking = _messages(one)
        mixed += len(_about(one)) < len(one.media)
        system = messages[0].text if messages[0].role == "system" else None
        thought = _THOUGHT.fullmatch(one.reply)
        assert bool(thought) == thinking
        if _is_plain(one, system):
            beside += 1
            continue
        wanted = conversations.styled(Turn("", _answer(drawn, one), ""), system).answer
        assert (thought[2] if thought else one.reply.removesuffix("<turn|>")) == wanted
        if thought:
            said = {"pictures": asking.PICTURE_THOUGHT, "speech": asking.SOUND_THOUGHT, "both": asking.BOTH_THOUGHT}
            assert thought[1] == said[kind]
        replies.append(wanted)
    assert len(set(replies)) > 10
    assert mixed == (0 if kind == "both" else pytest.approx(0.06 * DRAWS, abs=6))
    assert DRAWS / 20 < beside < DRAWS / 4


def test_a_part_of_a_picture_comes_after_it_and_the_text_is_told(collate: Collator, pools: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "STRIPS", 20)
        patch.setattr(fonts, "available", lambda _: FAMILIES)
        made = Mixture(collate, pools, seed=3, texts=20, calls=5)
        known = {one.text for one in made.strips.texts}
    small = []
    for _ in range(20):
        one = made._zoomed()
        overview, part = one.media
        assert _messages(one)[0][-1].parts[0] != _messages(one)[0][-1].parts[1]
        said = _THOUGHT.fullmatch(one.reply)
        reply = said[2] if said else one.reply.removesuffix("<turn|>")
        kind = _kind(asking.PICTURE, _asked(one))
        assert reply in {asking.picture_reply(kind, text) for text in known}
        assert len(one.prompt.split("<|image|>")) == 3
        assert overview.labels is not None
        assert part.labels is not None
        assert (part.labels > 0).any()
        small.append(not (overview.labels > 0).any())
    assert any(small)
