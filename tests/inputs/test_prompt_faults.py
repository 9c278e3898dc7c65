"""Media, templates and tokenizers that do not fit the model or each other."""

import numpy as np
import pytest

from gemma_mlx.config import AudioConfig, ModelConfig, VisionConfig
from gemma_mlx.errors import CheckpointError, InputError
from gemma_mlx.inputs.message import Audio, Message, Text, Video
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from tests.inputs.prompts import DEMO, TEXT, clip, demo_config, picture, recording


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(DEMO)


@pytest.fixture(scope="module")
def builder(tokenizer: Tokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer))


def test_rows_and_placeholders_that_differ_are_both_named(tokenizer: Tokenizer) -> None:
    narrow = PromptBuilder(
        tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer, VisionConfig(64, 64, pooling_kernel_size=1))
    )
    with pytest.raises(InputError, match=r"a\.png.*\b9\b.*\b1\b"):
        narrow.build([Message("user", (picture(1, 1),))])
    coarse = PromptBuilder(tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer, audio=AudioConfig(320)))
    with pytest.raises(InputError, match=r"a\.wav.*\b4\b.*\b2\b"):
        coarse.build([Message("user", (recording(1280),))])


def test_more_patches_than_positions(tokenizer: Tokenizer) -> None:
    builder = PromptBuilder(
        tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer, VisionConfig(64, 64, mm_posemb_size=4))
    )
    assert builder.build([Message("user", (picture(1, 4),))]).count("image") == 4
    with pytest.raises(InputError, match=r"a\.png.*\b5\b.*\b4\b"):
        builder.build([Message("user", (picture(1, 5),))])


def test_a_model_without_the_sense(tokenizer: Tokenizer) -> None:
    blind = PromptBuilder(tokenizer, ChatTemplate.load(DEMO), demo_config(tokenizer, None, None))
    assert blind.build([Message.of("user", "Hi")]).n_tokens
    for part, words in ((picture(1, 1), "does not see"), (clip(0.0), "does not see"), (recording(1), "does not hear")):
        with pytest.raises(InputError, match=words):
            blind.build([Message("user", (part,))])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% for m in messages %}x{% endfor %}", r"a\.png.*no place"),
        ("<|audio|>", r"a\.png.*<\|audio\|>"),
        ("<|image|><|image|>", r"more <\|image\|>"),
    ],
)
def test_templates_that_lose_or_invent_media(source: str, words: str, tokenizer: Tokenizer) -> None:
    builder = PromptBuilder(tokenizer, ChatTemplate(source, {}), demo_config(tokenizer))
    with pytest.raises(InputError, match=words):
        builder.build([Message("user", (picture(1, 1),))])


def test_empty_media_and_unknown_roles(builder: PromptBuilder) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: 0 frames"):
        builder.build([Message("user", (Video("a.mp4", (), ()),))])
    with pytest.raises(InputError, match=r"a\.wav.*empty"):
        builder.build([Message("user", (Audio("a.wav", np.zeros(0, np.float32)),))])
    with pytest.raises(InputError, match="'robot'"):
        builder.build([Message("robot", (Text("x"),))])


def test_a_tokenizer_of_another_checkpoint(tokenizer: Tokenizer) -> None:
    published = ModelConfig(TEXT, VisionConfig(64, 64), AudioConfig(), None)
    with pytest.raises(CheckpointError, match=r"<\|image> is 255999 in config\.json, 17 in the tokenizer"):
        PromptBuilder(tokenizer, ChatTemplate.load(DEMO), published)
