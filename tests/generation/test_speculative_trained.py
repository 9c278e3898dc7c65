"""Speculative decoding with a drafter that was trained: the demo model's, as stored, unpacked, and packed otherwise."""

from pathlib import Path

import mlx.nn as nn
import pytest

from gemma_mlx.context.context import Context
from gemma_mlx.generation.depth import Fixed
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.generation.speculative import Drafting
from gemma_mlx.inputs.message import Message
from gemma_mlx.loading import Gemma, LoadOptions, load, load_drafter
from tests import unpacked
from tests.generation.drafters import Noted

TOKENS = 40


@pytest.fixture(scope="module")
def demo() -> Gemma:
    return load("demo", LoadOptions(dtype="float32"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drafter in bfloat16."""
    return unpacked.assistant(tmp_path_factory.mktemp("plain") / "assistant")


@pytest.mark.parametrize("bits", ["as stored", None, 8, 4])
@pytest.mark.parametrize("thinking", [False, True])
def test_some_drafts_are_accepted_and_the_ids_are_those_of_the_plain_loop(
    demo: Gemma, plain: Path, bits: str | int | None, thinking: bool
) -> None:
    source = unpacked.ASSISTANT if bits == "as stored" else plain
    drafter = load_drafter(source, dtype="float32", target=demo.config)
    if isinstance(bits, int):
        nn.quantize(drafter, group_size=32, bits=bits)
    packed = {module.bits for module in drafter.modules() if isinstance(module, nn.QuantizedLinear)}
    assert packed == {"as stored": {4}, None: set(), 8: {8}, 4: {4}}[bits]
    messages = [Message.of("user", "Hello"), Message.of("assistant", "Hi."), Message.of("user", "What can you do?")]
    prompt = demo.prompts.build(messages, enable_thinking=thinking, add_generation_prompt=True)
    options = DecodeOptions(Sampler(temperature=0, suppress_tokens=demo.sampler.suppress_tokens), TOKENS)
    answers, noted = [], Noted(Fixed(3))
    for drafting in (None, Drafting(drafter, noted)):
        context = Context(demo.model, prompt.n_tokens + TOKENS)
        hidden = context.read(prompt).hidden
        assert hidden is not None
        answers.append([token.id for token in context.decode(hidden, options, drafting)])
    assert answers[0] == answers[1]
    assert sum(done.accepted for done in noted.rounds) > TOKENS // 4
