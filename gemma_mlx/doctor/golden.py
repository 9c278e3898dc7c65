"""`doctor --golden`: does the loaded 12B choose the tokens that were recorded of it elsewhere?

The model decodes greedily, as in a conversation. Where it chooses another token than the recording, the recorded one is
put in its place and it goes on from there; so one near-tie costs one token, not the rest of the answer, and up to the
first difference the tokens are those of plain greedy decoding. Knows recordings: not why a token differs.
Source of the recordings: assets/golden.json, which names its own.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gemma_mlx.context.context import Context
from gemma_mlx.doctor.finding import Finding
from gemma_mlx.errors import ConfigError
from gemma_mlx.fields import read_json
from gemma_mlx.generation.loop import DecodeOptions
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.message import Message
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.loading import Gemma, Prepared

GOLDEN = Path(str(files("gemma_mlx") / "assets" / "golden.json"))
# Judged, not measured: the recordings come from another 4-bit packing, and two packings of one model differ where two
# tokens are about as likely, in perhaps one of fifteen. Of 131 tokens that is 9 ± 3, so 20 are no accident. Less than
# half is another model, or arithmetic that is broken.
_NORMAL, _BROKEN = 0.85, 0.5


@dataclass(frozen=True)
class Case:
    """A recorded prompt and the tokens that followed, the stop token included."""

    name: str
    messages: tuple[Message, ...]
    enable_thinking: bool
    prompt: tuple[int, ...]
    output: tuple[int, ...]


@dataclass(frozen=True)
class Golden:
    """Recordings of one checkpoint, and the size of the vocabulary that their ids belong to."""

    checkpoint: str
    vocab_size: int
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Replayed:
    """What the model chose at each place of a recording. `same_prompt`: its own template gives the recorded ids."""

    case: Case
    chosen: tuple[int, ...]
    same_prompt: bool

    def as_json(self) -> dict[str, Any]:
        """As `doctor --json` reports it."""
        ids = {"chosen": list(self.chosen), "recorded": list(self.case.output)}
        return {"name": self.case.name, "same_prompt": self.same_prompt, **ids}

    @property
    def agreeing(self) -> int:
        return sum(a == b for a, b in zip(self.chosen, self.case.output, strict=True))

    @property
    def first_difference(self) -> int | None:
        """Index of the first token that differs, None if none does."""
        pairs = enumerate(zip(self.chosen, self.case.output, strict=True))
        return next((index for index, (a, b) in pairs if a != b), None)


def read_golden(path: Path = GOLDEN) -> Golden:
    """The recordings of a file."""
    raw = read_json(path)
    return Golden(raw["checkpoint"], raw["vocab_size"], tuple(map(_case, raw["cases"])))


def _case(raw: dict[str, Any]) -> Case:
    roles: dict[str, Literal["user", "assistant"]] = {"user": "user", "assistant": "assistant"}
    return Case(
        name=raw["id"],
        messages=tuple(Message.of(roles[message["role"]], message["content"]) for message in raw["messages"]),
        enable_thinking=raw["enable_thinking"],
        prompt=tuple(raw["prompt_token_ids"]),
        output=tuple(raw["output_token_ids"]),
    )


def refuse_other_vocabulary(golden: Golden, prepared: Prepared) -> None:
    """Raise `ConfigError` if the recorded ids mean nothing to the model; before its weights are read."""
    rows = prepared.config.text_config.vocab_size
    if rows != golden.vocab_size:
        raise ConfigError(
            f"{prepared.directory} has a vocabulary of {rows} tokens, the golden prompts one of {golden.vocab_size}: "
            "give Gemma 4 12B with --model, or gemma-mlx pull"
        )


def replay(gemma: Gemma, case: Case) -> Replayed:
    """Decode one recording's prompt, corrected wherever the model leaves the recording."""
    knobs = gemma.plan.knobs
    context = Context(gemma.model, knobs.context, knobs.piece_tokens)
    options = DecodeOptions(Sampler(temperature=0, suppress_tokens=gemma.sampler.suppress_tokens), len(case.output))
    chosen: list[int] = []
    while left := len(case.output) - len(chosen):
        ids = np.array([*case.prompt, *case.output[: len(chosen)]], np.int32)
        read = context.read(Prompt((Segment("text", ids),)))
        assert read.hidden is not None, "an uninterrupted read ends in a hidden state"
        with closing(context.decode(read.hidden, replace(options, max_tokens=left))) as tokens:
            for token in tokens:
                chosen.append(token.id)
                if token.id != case.output[len(chosen) - 1]:
                    break
    built = gemma.prompts.build(case.messages, enable_thinking=case.enable_thinking)
    return Replayed(case, tuple(chosen), tuple(built.ids) == case.prompt)


def of_case(replayed: Replayed, text_of: Callable[[Sequence[int]], str]) -> Finding:
    """One case: agreeing tokens, the first difference in ids and text, a prompt that the model's own files render
    otherwise."""
    case, first = replayed.case, replayed.first_difference
    text = f"{replayed.agreeing} of {len(case.output)} tokens"
    if first is not None:
        ours, recorded = (f"{text_of([ids[first]])!r} ({ids[first]})" for ids in (replayed.chosen, case.output))
        text += f", token {first + 1} is {ours} instead of {recorded}"
    if not replayed.same_prompt:
        advice = "tokenizer or chat template are not Gemma 4 12B's: download the model again"
        return Finding(case.name, "fix", f"{text}; the model's own files give other prompt ids", advice)
    return Finding(case.name, "ok", text)


def verdict(golden: Golden, replayed: Sequence[Replayed]) -> Finding:
    """All cases together."""
    agreeing, total = sum(each.agreeing for each in replayed), sum(len(each.case.output) for each in replayed)
    alike = sum(each.first_difference is None for each in replayed)
    share = agreeing / total
    text = f"{agreeing} of {total} tokens agree ({share:.0%}), {alike} of {len(replayed)} answers wholly"
    note = f"recorded from {golden.checkpoint}: a few differing tokens are normal"
    if share >= _NORMAL:
        return Finding("agreement", "ok", f"{text}; {note}")
    advice = f"compare with --dtype float32, and with another download; below {_NORMAL:.0%} is too much for a packing"
    if share >= _BROKEN:
        return Finding("agreement", "warning", f"{text}; {note}", advice)
    advice = "the model or this machine computes something else: download the model again, install mlx again, report it"
    return Finding("agreement", "fix", f"{text}; {note}", advice)
