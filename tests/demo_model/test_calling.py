"""Examples with tools: the prompts of our own package, replies that it reads as meant, splits without a common word."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tokenizers import Tokenizer as RustTokenizer

from gemma_mlx.config import ModelConfig
from gemma_mlx.generation.channels import ChannelStream, open_channel
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.inputs.prompt import PromptBuilder
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import Tokenizer, load_tokenizer
from tests.demo_model import calling, calling_words
from tests.demo_model.answers import Split
from tests.demo_model.calling import EXPECTED, Task
from tests.demo_model.calling_tools import KINDS, Kind, failed
from tests.demo_model.calling_words import SPLITS, split_of

DEMO = Path(__file__).parents[2] / "gemma_mlx" / "assets" / "demo"
COUNT = 300
# Parts of names that both splits have: what they are put in front of or behind differs.
_SHARED_WORDS = (*calling_words._BEFORE, *calling_words._BEHIND, *(end[1:] for end in calling_words._ENDINGS))
_SHARED = re.compile(rf"\b({'|'.join(_SHARED_WORDS)})\b|\W|_", re.IGNORECASE)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(DEMO)


@pytest.fixture(scope="module")
def builder(tokenizer: Tokenizer) -> PromptBuilder:
    return PromptBuilder(tokenizer, ChatTemplate.load(DEMO), ModelConfig.load(DEMO))


@pytest.fixture(scope="module", name="encoder")
def _encoder() -> RustTokenizer:
    return RustTokenizer.from_file(str(DEMO / "tokenizer.json"))


def _tasks(split: Split, count: int = COUNT) -> list[Task]:
    rng = random.Random(split)
    return [calling._task(rng, split, EXPECTED[index % len(EXPECTED)]) for index in range(count)]


@pytest.fixture(scope="module", params=SPLITS)
def tasks(request: pytest.FixtureRequest) -> list[Task]:
    return _tasks(request.param)


def _ids(encoder: RustTokenizer, text: str) -> list[int]:
    return list(encoder.encode(text, add_special_tokens=False).ids)


def test_prompts_are_those_of_the_package(tasks: list[Task], builder: PromptBuilder, encoder: RustTokenizer) -> None:
    for task in tasks:
        built = builder.build(task.messages, tools=task.tools, enable_thinking=task.thinking)
        assert _ids(encoder, calling.prompt(task)) == built.ids, calling.prompt(task)


def test_the_draws_have_every_trait(tasks: list[Task]) -> None:
    assert {(task.expected, task.thinking) for task in tasks} == {(e, t) for e in EXPECTED for t in (False, True)}
    assert {len(task.tools) for task in tasks} == {0, 1, 2, 3}
    assert {task.messages[0].role for task in tasks} == {"system", "user"}
    styles = {(task.messages[0].text, task.answer.startswith("Arr! ")) for task in tasks if task.answer}
    assert {("Talk like a pirate.", True), ("Be brief.", False)} <= styles
    assert {sum(message.role == "user" for message in task.messages) for task in tasks} == {1, 2}
    results = [message for task in tasks for message in task.messages if message.role == "tool"]
    assert {message.value is None for message in results} == {False, True}
    assert {"That did not work: " in task.answer for task in tasks if task.expected == "answer"} == {
        True,
        False,
    }
    declared = [tool for task in tasks for tool in task.tools]
    assert {tool["name"] for tool in declared} == {name for kind in KINDS for name in kind.names}
    assert {name for tool in declared for name in tool["parameters"]["properties"]} == {
        name for kind in KINDS for names in kind.slots.values() for name in names
    }


def test_replies_are_read_as_meant(tasks: list[Task], tokenizer: Tokenizer, encoder: RustTokenizer) -> None:
    for task in tasks:
        example = calling.example(task)
        *reply, last = _ids(encoder, example.reply)
        stream = ChannelStream(tokenizer, channel=open_channel(_ids(encoder, example.prompt), tokenizer))
        for token in reply:
            stream.push(token)
        assert stream.finish() == []
        assert not stream.bad
        assert stream.calls == ((ToolCall(task.name, task.arguments),) if task.expected == "call" else ())
        assert stream.text() == task.answer
        assert calling.is_right(task, stream.calls, stream.text())
        assert stream.text("thought").strip() == (task.thought if task.thinking else "")
        assert last == tokenizer.specials["<|tool_response>" if task.expected == "call" else "<turn|>"]


def test_a_call_is_of_a_declared_tool_and_copies_what_the_user_typed(tasks: list[Task]) -> None:
    for task in tasks:
        declared = {tool["name"]: tool["parameters"]["properties"] for tool in task.tools}
        assert len(declared) == len(task.tools)
        if task.expected == "call":
            assert declared[task.name].keys() == task.arguments.keys()
            typed = task.messages[-1].text
            assert all(str(value) in typed for value in task.arguments.values()), typed
            types = {"string": str, "integer": int}
            for name, value in task.arguments.items():
                assert type(value) is types[declared[task.name][name]["type"]]


def test_a_thought_stays_in_the_turn_of_its_call(tasks: list[Task]) -> None:
    for task in tasks:
        thoughts = [message.thinking is not None for message in task.messages if message.calls]
        of_this_turn = task.expected == "answer"
        assert thoughts == [False] * (len(thoughts) - of_this_turn) + [task.thinking] * of_this_turn


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names[0])
def test_an_answer_tells_what_the_tool_returned(kind: Kind) -> None:
    said_only = {"query", "text", "a", "b"}  # what the answer does not repeat
    done = {"ok", "OK", "done", "sent", "None", "True"}
    rng = random.Random(0)
    for split in SPLITS * 50:
        given = kind.arguments(rng, split)
        result, answer = kind.report(rng, split, given)
        for told in (
            *_strings({slot: value for slot, value in given.items() if slot not in said_only}),
            *_strings(result),
        ):
            assert told in done or told in answer
        result, answer = failed(rng, split, kind.names[0])
        assert answer == f"That did not work: {next(_strings(result)).split(': ')[-1]}."


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    else:
        yield str(value)


def _copied(tasks: list[Task]) -> set[str]:
    """The words and numbers in the arguments of calls, without those of the forms of messages."""
    calls = [task.arguments for task in tasks]
    calls += [call.arguments for task in tasks for message in task.messages for call in message.calls]
    texts = _SHARED.sub(" ", " ".join(_strings(calls)))
    forms = re.sub(r"\{\w\}", " ", " ".join(calling_words._TEXTS.values()))
    return set(texts.casefold().split()) - set(re.findall(r"\w+", forms.casefold()))


def test_nothing_to_copy_is_in_both_splits() -> None:
    copied = {split: _copied(_tasks(split, 2000)) for split in SPLITS}
    assert min(map(len, copied.values())) > 400
    for split in SPLITS:
        assert {word for word in copied[split] if split_of(word) != split} == set()


def test_what_is_not_expected_is_not_right() -> None:
    task = next(task for task in calling.held_out(20, 0) if task.expected == "call")
    assert calling.is_right(task, [ToolCall(task.name, dict(task.arguments), "call-7")], "\n")
    for calls, text in (
        ([], ""),
        ([ToolCall(task.name, task.arguments)], "It is 21 degrees."),
        ([ToolCall(f"{task.name}s", task.arguments)], ""),
        ([ToolCall(task.name, {**task.arguments, "more": 1})], ""),
        ([ToolCall(task.name, task.arguments)] * 2, ""),
    ):
        assert not calling.is_right(task, calls, text)


def test_held_out_tasks_are_mostly_calls() -> None:
    tasks = calling.held_out(200, 0)
    assert Counter(task.expected for task in tasks) == {"call": 120, "answer": 40, "fallback": 20, "talk": 20}
    assert {split_of(word) for word in _copied(tasks)} == {"held_out"}
    asked = {task.messages[-1].text for task in tasks if task.expected == "call"}
    assert asked.isdisjoint(task.messages[-1].text for task in _tasks("train", 2000))


def test_a_follow_up_asks_the_tool_of_the_turn_before() -> None:
    calls = [task for task in _tasks("train", 2000) if task.expected == "call"]
    follow_ups = [task for task in calls if re.match("(and|what about) ", task.messages[-1].text.lower())]
    assert len(follow_ups) > 5
    for task in follow_ups:
        before = [call for message in task.messages for call in message.calls]
        assert [(call.name, call.arguments.keys()) for call in before] == [(task.name, task.arguments.keys())]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names[0])
def test_no_wording_is_in_both_splits(kind: Kind) -> None:
    wordings = {split: {re.sub(r"[^\w{} ]", "", form).strip() for form in kind.wordings[split]} for split in SPLITS}
    assert wordings["train"].isdisjoint(wordings["held_out"])
    if kind.follow_ups:
        assert set(kind.follow_ups["train"]).isdisjoint(kind.follow_ups["held_out"])
    for split in SPLITS:
        assert len(set(kind.wordings[split])) == len(kind.wordings[split])
        for form in kind.wordings[split]:
            assert set(re.findall(r"\{(\w+)\}", form)) == set(kind.slots), form


def test_held_out_words_are_the_same_pieces_wherever_they_stand() -> None:
    tokenizer = RustTokenizer.from_file(str(DEMO / "tokenizer.json"))

    def spelt_anew(word: str) -> bool:
        pieces = (tokenizer.encode(text, add_special_tokens=False).tokens for text in (f" {word}", word))
        behind, alone = ([piece.strip(" ▁Ġ") for piece in found] for found in pieces)
        return [piece for piece in behind if piece] != alone

    assert [word for word in calling_words._LISTS["word"]["held_out"] if spelt_anew(word)] == []
    assert all(map(spelt_anew, calling_words.SPELT_ANEW))


def test_a_seed_fixes_the_draws() -> None:
    first, again, other = ([calling.draw(rng, "train") for _ in range(20)] for rng in map(random.Random, (1, 1, 2)))
    assert [(e.prompt, e.reply) for e in first] == [(e.prompt, e.reply) for e in again]
    assert [(e.prompt, e.reply) for e in first] != [(e.prompt, e.reply) for e in other]
    drawn = [[calling.example(task).prompt for task in calling.held_out(20, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
