"""Messages -> token ids in segments, with the pixels and samples that belong to them.

The chat template turns messages into one string in which every medium is a placeholder; placeholders are expanded as
the published processor does, in the turn they came in, and the text between control tokens is tokenized in one piece,
so the ids are those of the whole expanded string. Nothing that comes from outside, from people, tools or files,
becomes a control token: see `marking.py`.
Nothing here knows embeddings, caches or the context limit.
Source: transformers' `Gemma4UnifiedProcessor` and the published chat template.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from gemma_mlx.config import ModelConfig
from gemma_mlx.errors import CheckpointError, InputError
from gemma_mlx.inputs.image import patches
from gemma_mlx.inputs.marking import Marking, first_characters
from gemma_mlx.inputs.message import Audio, Image, Message, Part, Text, Video
from gemma_mlx.inputs.rendering import (
    check_tools,
    checked_steps,
    template_messages,
    template_tools,
    texts,
    without_joints,
)
from gemma_mlx.inputs.template import ChatTemplate
from gemma_mlx.inputs.tokenizer import Tokenizer
from gemma_mlx.inputs.video import timestamp

Kind = Literal["text", "image", "audio", "video"]
_PLACEHOLDERS: Mapping[str, Kind] = {"<|image|>": "image", "<|audio|>": "audio", "<|video|>": "video"}


@dataclass(frozen=True, eq=False)
class Segment:
    """A run of tokens of one kind. An image, a video frame or an audio block is one segment of soft tokens."""

    kind: Kind
    ids: np.ndarray  # int32 (n,)
    features: np.ndarray | None = None  # image, video: uint8 (n, 6912); audio: float32 (n, 640)
    positions: np.ndarray | None = None  # image, video: int32 (n, 2), (x, y)
    digest: str = ""  # of features and positions; empty for text
    row_digests: tuple[str, ...] = ()  # of each frame of sound: it is causal, and may grow or end anywhere


@dataclass(frozen=True, eq=False)
class Prompt:
    """What the model reads, in order."""

    segments: tuple[Segment, ...]

    @property
    def ids(self) -> list[int]:
        """Every token id, soft tokens as their placeholder's id."""
        return [token for segment in self.segments for token in segment.ids.tolist()]

    @property
    def n_tokens(self) -> int:
        return sum(len(segment.ids) for segment in self.segments)

    def count(self, kind: Kind) -> int:
        """Tokens in segments of one kind: for media their soft tokens, without begin and end."""
        return sum(len(segment.ids) for segment in self.segments if segment.kind == kind)


@dataclass(frozen=True, eq=False)
class _Block:
    """Soft tokens between their begin and end token, and the text in front of them."""

    before: str
    begin: int
    soft: Segment
    end: int


@dataclass(frozen=True, eq=False)
class _Slot:
    """What one placeholder of the template expands to."""

    kind: Kind
    name: str
    blocks: tuple[_Block, ...]


class PromptBuilder:
    """Builds prompts for one checkpoint. A medium is cut into features and hashed once, however often it is built."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, config: ModelConfig) -> None:
        """Raises `CheckpointError` if the tokenizer and `config.json` disagree about a media token."""
        _check_ids(tokenizer, config)
        self._tokenizer = tokenizer
        self._template = template
        self._config = config
        self._seen: WeakKeyDictionary[Part, tuple[_Slot, ...]] = WeakKeyDictionary()
        literals = sorted(tokenizer.specials, key=len, reverse=True)
        self._control = re.compile(f"({'|'.join(map(re.escape, literals))})")
        self._heads = first_characters(literals)

    def build(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        enable_thinking: bool = False,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        """Render, expand and tokenize. Each of `tools` is a declaration: `name`, `description`, `parameters` (JSON
        schema).

        Raises `InputError` if the template refuses the messages or drops a medium, if the model cannot take a
        medium, if a medium has other than as many feature rows as placeholders, or if calls, results and
        declarations do not fit each other or are no JSON.
        """
        steps = checked_steps(messages)
        check_tools(tools)
        marking = Marking(self._heads, texts(messages, tools))
        rendered = self._template.render(
            template_messages(steps, self._kinds, marking),
            tools=template_tools(tools, marking) or None,
            enable_thinking=enable_thinking,
            add_generation_prompt=add_generation_prompt,
        )
        parts = chain.from_iterable(message.parts for message in messages)
        remaining = chain.from_iterable(map(self._slots_of, parts))
        assembly = _Assembly(self._tokenizer)
        for index, piece in enumerate(self._control.split(without_joints(rendered, marking))):
            if index % 2 == 0:
                assembly.add_text(marking.removed(piece))
            elif piece in _PLACEHOLDERS:
                assembly.add_slot(_expected(remaining, _PLACEHOLDERS[piece], piece))
            else:
                assembly.add_token(self._tokenizer.specials[piece])
        for left_over in remaining:
            raise InputError(f"{left_over.name}: the chat template has no place for it, put it in a user message")
        return Prompt(assembly.segments())

    def _kinds(self, part: Part) -> list[Kind]:
        return [slot.kind for slot in self._slots_of(part)]

    def _slots_of(self, part: Part) -> tuple[_Slot, ...]:
        if part not in self._seen:
            self._seen[part] = self._slots(part)
        return self._seen[part]

    def _slots(self, part: Part) -> tuple[_Slot, ...]:
        config = self._config
        match part:
            case Image():
                soft = self._picture("image", config.image_token_id, part.pixels, part.name)
                return (_Slot("image", part.name, (_Block("", config.boi_token_id, soft, config.eoi_token_id),)),)
            case Video():
                if not part.frames or len(part.frames) != len(part.timestamps):
                    raise InputError(f"{part.name}: {len(part.frames)} frames for {len(part.timestamps)} timestamps")
                softs = [self._picture("video", config.video_token_id, frame, part.name) for frame in part.frames]
                times = [f"{' ' if index else ''}{timestamp(second)} " for index, second in enumerate(part.timestamps)]
                blocks = (
                    _Block(time, config.boi_token_id, soft, config.eoi_token_id)
                    for time, soft in zip(times, softs, strict=True)
                )
                return (_Slot("video", part.name, tuple(blocks)),)
            case Audio():
                softs = [self._sound(block, part.name) for block in part.blocks()]
                if not softs:
                    raise InputError(f"{part.name}: the recording is empty, give one with at least one sample")
                return tuple(
                    _Slot("audio", part.name, (_Block("", config.boa_token_id, soft, config.eoa_token_id),))
                    for soft in softs
                )
            case Text():
                return ()

    def _picture(self, kind: Kind, token: int, pixels: np.ndarray, name: str) -> Segment:
        vision = self._config.vision_config
        if vision is None:
            raise InputError(f"{name}: this model does not see, its config.json has no vision_config")
        features, positions = patches(pixels)
        placeholders = pixels.shape[0] * pixels.shape[1] // vision.model_patch_size**2
        if (widest := int(positions.max()) + 1) > vision.mm_posemb_size:
            raise InputError(f"{name}: {widest} patches in a row, the model has {vision.mm_posemb_size} positions")
        return _soft_tokens(kind, np.full(placeholders, token, np.int32), features, positions, name)

    def _sound(self, block: np.ndarray, name: str) -> Segment:
        audio = self._config.audio_config
        if audio is None:
            raise InputError(f"{name}: this model does not hear, its config.json has no audio_config")
        placeholders = block.size // audio.audio_samples_per_token
        ids = np.full(placeholders, self._config.audio_token_id, np.int32)
        return _soft_tokens("audio", ids, block, None, name)


class _Assembly:
    """Segments in the making: text waits until a control token ends it, ids until a medium ends them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._segments: list[Segment] = []
        self._ids: list[int] = []
        self._text = ""

    def add_text(self, text: str) -> None:
        self._text += text

    def add_token(self, token: int) -> None:
        self._flush_text()
        self._ids.append(token)

    def add_slot(self, slot: _Slot) -> None:
        for block in slot.blocks:
            self.add_text(block.before)
            self.add_token(block.begin)
            self._flush_ids()
            self._segments.append(block.soft)
            self.add_token(block.end)

    def segments(self) -> tuple[Segment, ...]:
        self._flush_text()
        self._flush_ids()
        return tuple(self._segments)

    def _flush_text(self) -> None:
        self._ids += self._tokenizer.encode(self._text)
        self._text = ""

    def _flush_ids(self) -> None:
        if self._ids:
            self._segments.append(Segment("text", np.array(self._ids, np.int32)))
        self._ids = []


def _soft_tokens(kind: Kind, ids: np.ndarray, features: np.ndarray, positions: np.ndarray | None, name: str) -> Segment:
    if len(ids) != len(features):
        raise InputError(f"{name}: {len(ids)} placeholders for {len(features)} feature rows, resize it for this model")
    if positions is None:
        rows = tuple(_digest(row) for row in features)
        return Segment(kind, ids, features, None, _digest(features), rows)
    return Segment(kind, ids, features, positions, _digest(features, positions))


def _digest(*arrays: np.ndarray) -> str:
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _expected(remaining: Iterator[_Slot], kind: Kind, literal: str) -> _Slot:
    slot = next(remaining, None)
    if slot is None:
        raise InputError(f"the chat template has more {literal} than there are attachments")
    if slot.kind != kind:
        raise InputError(f"{slot.name}: the chat template has {literal} where this {slot.kind} belongs")
    return slot


def _check_ids(tokenizer: Tokenizer, config: ModelConfig) -> None:
    ids: dict[str, int] = {}
    if config.vision_config is not None:
        ids |= {"<|image>": config.boi_token_id, "<image|>": config.eoi_token_id}
        ids |= {"<|image|>": config.image_token_id, "<|video|>": config.video_token_id}
    if config.audio_config is not None:
        ids |= {"<|audio>": config.boa_token_id, "<audio|>": config.eoa_token_id, "<|audio|>": config.audio_token_id}
    for literal, expected in ids.items():
        found = tokenizer.specials.get(literal)
        if found != expected:
            raise CheckpointError(
                f"{literal} is {expected} in config.json, {found} in the tokenizer: download both again"
            )
