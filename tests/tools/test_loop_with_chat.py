"""The loop that runs tools, with a real conversation whose generated tokens are written down."""

import re
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

import gemma_mlx as gm
from gemma_mlx.generation.events import Token
from gemma_mlx.inputs.tokenizer import Tokenizer

PICTURE = gm.Image("a.png", np.zeros((48, 96, 3), np.uint8))


@gm.tool
def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


@gm.tool
def look() -> gm.Image:
    """Take a picture."""
    return PICTURE


@pytest.fixture(scope="module")
def demo() -> gm.Gemma:
    return gm.load("demo", gm.LoadOptions(dtype="float32"))


def _ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Text with literals of control tokens, as a model would generate it."""
    literals = "|".join(map(re.escape, sorted(tokenizer.specials, key=len, reverse=True)))
    pieces = re.split(f"({literals})", text)
    return [
        token
        for piece in pieces
        for token in ([tokenizer.specials[piece]] if piece in tokenizer.specials else tokenizer.encode(piece))
    ]


@pytest.mark.parametrize("thinking", [False, True])
def test_calls_are_run_and_the_same_turn_goes_on(
    demo: gm.Gemma, thinking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, later = ("<|channel>thought\nhm\n<channel|>", "so\n<channel|>") if thinking else ("", "")
    said = [
        f'{first}Wait.<|tool_call>call:add{{a:<|"|>x<|"|>}}<tool_call|><|tool_call>call:look{{}}<tool_call|><|tool_response>',
        f"{later}<|tool_call>call:add{{a:1,b:2}}<tool_call|><|tool_response>",
        f"{later}It is 3.<turn|>",
    ]
    script = [_ids(text, demo.tokenizer) for text in said]
    chat = gm.Chat(demo, enable_thinking=thinking, tools=[add.declaration, look.declaration])

    def decode(*_: Any) -> Generator[Token]:
        yield from map(Token, script.pop(0))

    with monkeypatch.context() as patch:
        patch.setattr(chat.context, "decode", decode)
        *events, last = gm.run_tools(chat, "What?", tools=[add, look])
    assert isinstance(last, gm.Finished)
    assert (last.reason, last.text) == ("stop", "It is 3.")
    assert [event.name for event in events if isinstance(event, gm.ToolCall)] == ["add", "look", "add"]
    results = [message for message in chat.history if message.role == "tool"]
    assert "a must be of the type integer" in results[0].text
    assert results[1].parts == (PICTURE,)
    assert results[2].value == {"value": 3}
    prompt = demo.prompts.build(chat.history, tools=[add.declaration, look.declaration], enable_thinking=thinking)
    assert prompt.ids.count(demo.tokenizer.specials["<|turn>"]) == 4  # system, user, one of the model, the next
    assert isinstance([*chat.reply("And now?", max_tokens=2)][-1], gm.Finished)
