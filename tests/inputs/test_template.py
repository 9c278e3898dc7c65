"""The demo's template against renderings of the published one, and what a broken template is answered with."""

import json
from pathlib import Path
from typing import Any

import pytest

from gemma_mlx.errors import CheckpointError, InputError
from gemma_mlx.inputs.template import ChatTemplate

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
RENDERINGS = json.loads((Path(__file__).parents[1] / "data" / "chat_renderings.json").read_text(encoding="utf-8"))
CASES = RENDERINGS["cases"]
HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def demo() -> ChatTemplate:
    return ChatTemplate.load(DEMO)


def _render(template: ChatTemplate, case: dict[str, Any]) -> str:
    return template.render(
        case["messages"],
        tools=case.get("tools"),
        enable_thinking=case.get("enable_thinking", False),
        preserve_thinking=case.get("preserve_thinking", False),
        add_generation_prompt=case["add_generation_prompt"],
    )


@pytest.mark.parametrize("case", [case for case in CASES if "rendered" in case], ids=lambda case: case["name"])
def test_demo_template_renders_like_the_published_one(demo: ChatTemplate, case: dict[str, Any]) -> None:
    assert _render(demo, case) == case["rendered"]


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_a_refusal_of_the_template_keeps_its_words(demo: ChatTemplate, case: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        _render(demo, case)
    assert case["error"] in str(refused.value)


def test_every_recorded_case_is_compared() -> None:
    assert len(CASES) == 43
    assert all(("rendered" in case) != ("error" in case) for case in CASES)


CALL: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "ping", "arguments": {}}}
CALLED = "<|turn>model\n<|tool_call>call:ping{}<tool_call|>"
RESPONSE = '<|tool_response>response:ping{value:<|"|>1<|"|>}<tool_response|>'


def test_the_next_user_turn_closes_a_call_that_was_never_answered(demo: ChatTemplate) -> None:
    messages: list[dict[str, Any]] = [
        *HI,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        *HI,
    ]
    rendered = demo.render(messages, add_generation_prompt=False)
    assert rendered.endswith(f"{CALLED}{RESPONSE}<turn|>\n<|turn>user\nHi<turn|>\n")


def test_a_call_with_text_stays_one_turn(demo: ChatTemplate) -> None:
    messages: list[dict[str, Any]] = [
        *HI,
        {"role": "assistant", "content": "wait", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "assistant", "content": "done"},
    ]
    rendered = demo.render(messages, add_generation_prompt=False)
    assert rendered.endswith(f"{CALLED}wait{RESPONSE}done<turn|>\n")
    assert demo.render(messages[:2]).endswith(f"{CALLED}wait<|tool_response>")


def test_the_thought_of_the_last_reply_is_kept_and_of_equal_earlier_questions_dropped(demo: ChatTemplate) -> None:
    reply: dict[str, Any] = {"role": "assistant", "content": "A", "reasoning_content": "r"}
    thought = "<|turn>model\n<|channel>thought\nr\n<channel|>A<turn|>\n"
    assert demo.render([*HI, reply], add_generation_prompt=False).endswith(thought)
    assert demo.render([*HI, reply, *HI, reply], add_generation_prompt=False).count("<|channel>") == 1


def _directory(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "embedded",
    ["{{ bos_token }}{{ messages[0].content }}", [{"name": "rag", "template": "x"}, {"name": "default"}]],
    ids=["one", "named"],
)
def test_template_inside_the_tokenizer_config(tmp_path: Path, embedded: Any) -> None:
    if isinstance(embedded, list):
        embedded[1]["template"] = "{{ bos_token }}{{ messages[0].content }}"
    config = {"bos_token": {"content": "[B]"}, "chat_template": embedded}
    assert ChatTemplate.load(_directory(tmp_path, {"tokenizer_config.json": json.dumps(config)})).render(HI) == "[B]Hi"


def test_the_file_comes_before_the_config(tmp_path: Path) -> None:
    config = json.dumps({"chat_template": "config", "bos_token": "[B]"})
    directory = _directory(tmp_path, {"tokenizer_config.json": config, "chat_template.jinja": "{{ bos_token }}file"})
    assert ChatTemplate.load(directory).render(HI) == "[B]file"


def test_helpers_that_published_templates_use() -> None:
    source = "{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{{ {'k': 'ä<'} | tojson }}{% endfor %}"
    assert ChatTemplate(source, {}).render(HI) == '{"k": "ä<"}'
    assert ChatTemplate("{{ strftime_now('%Y') }}", {}).render(HI).isdigit()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no chat template"),
        ({"tokenizer_config.json": "{}"}, "no chat template"),
        ({"tokenizer_config.json": "{"}, "not JSON"),
        ({"tokenizer_config.json": "[]"}, "list"),
        ({"chat_template.jinja": "a\n{% if %}"}, "line 2"),
    ],
)
def test_missing_and_broken_files(tmp_path: Path, files: dict[str, str], words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as fault:
        ChatTemplate.load(_directory(tmp_path, files))
    assert str(tmp_path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_template_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja"):
        ChatTemplate.load(tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].a.b.c }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception('two\nlines') }}",
        "{{ messages + 1 }}",
        "{{ 1 // 0 }}",
        "{{ 10 ** (5000 * messages | length) }}",
        "{{ messages | tojson(indent=messages) }}",
        "{{ strftime_now(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x'.encode('nonsense') }}",
    ],
)
def test_faults_while_rendering_are_one_line(source: str) -> None:
    with pytest.raises(InputError) as refused:
        ChatTemplate(source, {}).render(HI)
    assert "\n" not in str(refused.value)
