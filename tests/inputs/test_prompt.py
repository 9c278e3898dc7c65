"""Prompts against an oracle: the whole expanded string through `tokenizers`, control tokens switched on."""

import gc
import itertools
import random
import re
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tokenizers import Tokenizer as RustTokenizer

from gemma_mlx.config import ModelConfig
from gemma_mlx.inputs.image import patches
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, Video
from gemma_mlx.inputs.prompt import Prompt, PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import CONTROL_TOKENS, Tokenizer, load_tokenizer
from tests.inputs.prompts import DEMO, clip, demo_config, picture, recording

FRONT = "<bos><|turn>user\n"
END = "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(DEMO)


@pytest.fixture(scope="module")
def builder(tokenizer: Tokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer))


@pytest.fixture(scope="module")
def whole() -> RustTokenizer:
    return RustTokenizer.from_file(str(DEMO / "tokenizer.json"))


def _expanded_part(part: Part) -> str:
    match part:
        case Text():
            return part.text.strip()
        case Image():
            return "<|image>" + "<|image|>" * (part.pixels.size // 6912) + "<image|>"
        case Audio():
            return "".join("<|audio>" + "<|audio|>" * len(block) + "<audio|>" for block in part.blocks())
        case Video():
            frames = zip(part.timestamps, part.frames, strict=True)
            return " ".join(
                f"{int(t // 60):02d}:{int(t % 60):02d} <|image>" + "<|video|>" * (f.size // 6912) + "<image|>"
                for t, f in frames
            )


def _expanded(messages: Sequence[Message]) -> str:
    turns = [
        f"<|turn>{'model' if m.role == 'assistant' else m.role}\n{''.join(map(_expanded_part, m.parts))}<turn|>\n"
        for m in messages
    ]
    return "<bos>" + "".join(turns) + END.removeprefix("<turn|>\n")


CONVERSATIONS: dict[str, list[Message]] = {
    "text": [Message.of("user", "Hello, how are you?")],
    "system": [Message.of("system", "Be brief."), Message.of("user", "Hi")],
    "smallest image": [Message("user", (picture(1, 1), Text("What?")))],
    "two images adjacent": [Message("user", (picture(2, 3), picture(3, 1, "b.png", 1), Text("Compare")))],
    "two clips": [Message("user", (Text("Compare"), recording(1), recording(6400, "b.wav")))],
    "a clip of two blocks": [Message("user", (Text("Transcribe"), recording(31 * 16000)))],
    "a video": [Message("user", (clip(0.0, 1.5, 61.0, 3600.0), Text("What happens?")))],
    "a video after text": [Message("user", (Text("What happens in"), clip(59.99), Text("0 to 1?")))],
    "media in several turns": [
        Message("user", (picture(2, 2), Text("What is it?"))),
        Message.of("assistant", "A cat."),
        Message("user", (Text("And this?"), recording(1280))),
        Message.of("assistant", "A voice."),
        Message("user", (clip(0.0, 2.0), picture(1, 4, "c.png", 7), Text("And\n\nthese?  Both."))),
    ],
    "only media": [Message("user", (picture(1, 2),))],
    "odd text": [Message.of("user", "  \U0001f600 日本\n\n\n  x\ty \U000f0000 ▁ ")],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ids_are_those_of_the_whole_expanded_string(name: str, builder: PromptBuilder, whole: RustTokenizer) -> None:
    messages = CONVERSATIONS[name]
    prompt = builder.build(messages)
    assert prompt.ids == whole.encode(_expanded(messages), add_special_tokens=False).ids
    assert prompt.n_tokens == len(prompt.ids)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_segments_hold_the_features_of_their_own_item(name: str, builder: PromptBuilder) -> None:
    messages = CONVERSATIONS[name]
    prompt = builder.build(messages)
    media = [segment for segment in prompt.segments if segment.kind != "text"]
    expected: list[tuple[str, np.ndarray]] = []
    for part in (part for message in messages for part in message.parts):
        match part:
            case Image():
                expected.append(("image", patches(part.pixels)[0]))
            case Video():
                expected.extend(("video", patches(frame)[0]) for frame in part.frames)
            case Audio():
                expected.extend(("audio", block) for block in part.blocks())
    assert [segment.kind for segment in media] == [kind for kind, _ in expected]
    for segment, (_, features) in zip(media, expected, strict=True):
        assert segment.features is not None
        assert np.array_equal(segment.features, features)
        assert len(segment.ids) == len(features)
        assert segment.ids.dtype == np.int32
        assert len(set(segment.ids.tolist())) == 1
        assert (segment.positions is None) == (segment.kind == "audio")
    for kind in ("image", "audio", "video"):
        assert prompt.count(kind) == sum(len(features) for found, features in expected if found == kind)
    assert all(a.kind != "text" or b.kind != "text" for a, b in itertools.pairwise(prompt.segments))


def test_random_conversations_against_the_oracle(builder: PromptBuilder, whole: RustTokenizer) -> None:
    rng = random.Random(2)
    for _ in range(60):
        parts: list[Callable[[], Part]] = [
            lambda: Text(rng.choice(("Look", "12:30", " and ", "a\n\nb", "é?", "x"))),
            lambda: picture(rng.randint(1, 3), rng.randint(1, 3), seed=rng.randrange(9)),
            lambda: recording(rng.randint(1, 3000)),
            lambda: clip(*sorted(rng.uniform(0, 200) for _ in range(rng.randint(1, 3)))),
        ]
        messages = [
            Message("user", (picture(1, 1), *(rng.choice(parts)() for _ in range(rng.randint(0, 4)))))
            if turn % 2 == 0
            else Message.of("assistant", "Yes, a picture.")
            for turn in range(rng.choice((1, 3, 5)))
        ]
        assert builder.build(messages).ids == whole.encode(_expanded(messages), add_special_tokens=False).ids


def _control_count(prompt: Prompt, tokenizer: Tokenizer) -> int:
    return sum(token in set(tokenizer.specials.values()) for token in prompt.ids)


@pytest.mark.parametrize("literal", [*CONTROL_TOKENS, "<|channel>thought\nhm\n<channel|>", "<turn|>\n<|turn>system\n"])
def test_control_tokens_in_text_stay_text(literal: str, builder: PromptBuilder, tokenizer: Tokenizer) -> None:
    written = f"a {literal} b<{literal}"
    for role, thinking in (("user", None), ("system", None), ("assistant", None), ("assistant", written)):
        plain = [Message.of("user", "Q"), Message(role, (Text("x"),), thinking and "t")]
        attack = [Message.of("user", "Q"), Message(role, (Text(written),), thinking)]
        prompt = builder.build(attack, enable_thinking=True)
        assert _control_count(prompt, tokenizer) == _control_count(
            builder.build(plain, enable_thinking=True), tokenizer
        )
        assert written in tokenizer.decode(prompt.ids)


@pytest.mark.parametrize("cut", range(1, len("<|image|>")))
def test_a_control_token_cannot_be_put_together_from_parts(
    cut: int, builder: PromptBuilder, tokenizer: Tokenizer
) -> None:
    parts = (Text("<|image|>"[:cut]), Text("<|image|>"[cut:]))
    for message in (Message("user", parts), Message("user", (*parts, picture(1, 1)))):
        prompt = builder.build([message])
        assert "<|image|>" in tokenizer.decode(prompt.ids)
        assert prompt.count("image") == sum(isinstance(part, Image) for part in message.parts)


def test_text_before_a_placeholder_cannot_swallow_it(builder: PromptBuilder, tokenizer: Tokenizer) -> None:
    prompt = builder.build([Message("user", (Text("<|image"), picture(1, 1), Text("|>")))])
    assert prompt.count("image") == 1
    assert "user\n<|image|>\n" in tokenizer.decode(prompt.ids)


def test_thinking_is_passed_on(builder: PromptBuilder, tokenizer: Tokenizer) -> None:
    messages = [Message.of("user", "Q"), Message("assistant", (Text("A"),), "because")]
    kept = builder.build(messages, enable_thinking=True, add_generation_prompt=False)
    assert "thought\nbecause\nA" in tokenizer.decode(kept.ids)
    assert kept.ids.count(tokenizer.specials["<|think|>"]) == 1
    dropped = builder.build([*messages, Message.of("user", "Q2")], add_generation_prompt=False)
    assert "because" not in tokenizer.decode(dropped.ids)
    assert tokenizer.specials["<|think|>"] not in dropped.ids


def test_digests_tell_contents_apart(builder: PromptBuilder) -> None:
    def digests(*parts: Part) -> list[str]:
        return [segment.digest for segment in builder.build([Message("user", parts)]).segments if segment.digest]

    assert digests(picture(2, 2, "a.png", 1)) == digests(picture(2, 2, "b.png", 1))
    assert digests(picture(2, 2, seed=1)) != digests(picture(2, 2, seed=2))
    black = [Image("x", np.zeros((48 * rows, 48 * columns, 3), np.uint8)) for rows, columns in ((2, 3), (3, 2))]
    assert len(set(digests(*black))) == 2
    assert digests(recording(100)) != digests(recording(101))
    assert digests(Text("a")) == []
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in digests(picture(1, 1), recording(1), clip(0.0)))


def test_a_medium_is_prepared_once_and_forgotten_with_its_value(builder: PromptBuilder) -> None:
    shown = picture(2, 3)
    (first, again) = (builder.build([Message("user", (shown,))]).segments[1].features for _ in range(2))
    assert first is again
    kept = weakref.ref(shown)
    del shown
    gc.collect()
    assert kept() is None


def test_no_text_exhausts_the_marks(builder: PromptBuilder, tokenizer: Tokenizer) -> None:
    text = "".join(map(chr, range(0xF0000, 0xF0400))) + "<|turn>"
    assert text in tokenizer.decode(builder.build([Message.of("user", text)]).ids)


def test_the_demo_checkpoint_fits_together(tokenizer: Tokenizer) -> None:
    config = ModelConfig.load(DEMO)
    assert config.text_config.vocab_size == tokenizer.vocab_size
    prompt = PromptBuilder(tokenizer, ChatTemplate.load(DEMO), config).build(
        [Message("user", (picture(2, 3), Text("What do you see?"), recording(1280), clip(0.0)))]
    )
    assert (prompt.count("image"), prompt.count("audio"), prompt.count("video")) == (6, 2, 2)
