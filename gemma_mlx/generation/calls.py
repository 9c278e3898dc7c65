"""The text of one tool call -> the name of the function and its arguments as JSON values.

    call   = "call" ":" NAME object              NAME: letters, digits, "_", "-", "."
    object = "{" [key ":" value {"," key ":" value}] "}"
    array  = "[" [value {"," value}] "]"
    value  = string | number | "true" | "false" | "null" | array | object

A string is whatever stands between two delimiter tokens. A key is bare, as chat templates print it, so it cannot hold
any of `{}[]:,` or begin or end with white space; between delimiters it can. Numbers are those of JSON, and white space
is allowed between any two of these pieces.
Knows neither tokens nor which functions exist: `channels.py` cuts the call out of the stream.
Source: the published chat template, which prints calls of earlier turns in this form.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from gemma_mlx.generation.events import BadCall
from gemma_mlx.inputs.json_values import MOST_BITS, MOST_LEVELS
from gemma_mlx.inputs.message import ToolCall

_WHITE = " \t\r\n"
_PIECE = re.compile(r"[{}\[\]:,]|[^{}\[\]:,]+")
_NAME = re.compile(r"[\w.-]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CONSTANTS = {"true": True, "false": False, "null": None}
_SHOWN = 24  # characters of a piece that a fault quotes


class CallText:
    """What was generated of one call so far."""

    def __init__(self) -> None:
        self._runs = [bytearray()]  # outside and inside strings by turns
        self._fault: str | None = None

    def add(self, data: bytes) -> None:
        """More text, as UTF-8 that may be cut anywhere."""
        self._runs[-1] += data

    def delimiter(self) -> None:
        """A string begins or ends."""
        self._runs.append(bytearray())

    def spoil(self, fault: str) -> None:
        """The call is bad whatever else it holds; the first fault is the one that is told."""
        self._fault = self._fault or fault

    def end(self) -> ToolCall | BadCall:
        """The call as a value; `BadCall.raw` has a plain quotation mark for each delimiter."""
        try:
            if self._fault:
                raise _Fault(self._fault)
            return _Reader(_pieces([bytes(run) for run in self._runs])).call()
        except _Fault as fault:
            raw = '"'.join(run.decode("utf-8", "replace") for run in self._runs)
            return BadCall(raw, str(fault))


class _Fault(Exception):
    """What is wrong with a call, in one line."""


class _Piece(NamedTuple):
    kind: Literal["mark", "word", "string", "end"]
    text: str

    def __str__(self) -> str:
        """For a person, in one line."""
        if self.kind == "end":
            return "nothing"
        return f"the string {_quoted(self.text)}" if self.kind == "string" else _quoted(self.text)


def _pieces(runs: Sequence[bytes]) -> Iterator[_Piece]:
    """The call as a flat list; words are without the white space around them."""
    if len(runs) % 2 == 0:
        raise _Fault("a string is not closed")
    try:
        texts = [run.decode("utf-8") for run in runs]
    except UnicodeDecodeError:
        raise _Fault("it holds bytes that are no UTF-8") from None
    for index, text in enumerate(texts):
        if index % 2:
            yield _Piece("string", text)
            continue
        for piece in _PIECE.findall(text):
            if piece in "{}[]:,":
                yield _Piece("mark", piece)
            elif word := piece.strip(_WHITE):
                yield _Piece("word", word)


class _Reader:
    """Reads the grammar above from left to right."""

    def __init__(self, pieces: Iterator[_Piece]) -> None:
        self._pieces = pieces
        self._next = next(pieces, _END)
        self._levels = 0

    def call(self) -> ToolCall:
        """The whole call. Raises `_Fault` at the first piece that does not fit."""
        if self._take() != _Piece("word", "call"):
            raise _Fault("it does not begin with 'call:'")
        self._expect(":")
        name = self._take()
        if name.kind != "word" or not _NAME.fullmatch(name.text):
            raise _Fault(f"a function's name is expected, {name} found")
        self._expect("{")
        arguments = self._object()
        if self._next != _END:
            raise _Fault(f"{self._next} follows the arguments")
        return ToolCall(name.text, arguments)

    def _take(self) -> _Piece:
        taken, self._next = self._next, next(self._pieces, _END)
        return taken

    def _accept(self, mark: str) -> bool:
        found = self._next == _Piece("mark", mark)
        if found:
            self._take()
        return found

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise _Fault(f"{mark!r} is expected, {self._next} found")

    def _items(self, close: str) -> Iterator[None]:
        """Stands before each item up to the closing mark, which is taken as well."""
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise _Fault(f"more than {MOST_LEVELS} levels of arrays and objects")
        if not self._accept(close):
            yield
            while self._accept(","):
                yield
            self._expect(close)
        self._levels -= 1

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in self._items("}"):
            key = self._take()
            if key.kind not in ("word", "string"):
                raise _Fault(f"a key is expected, {key} found")
            if key.text in found:
                raise _Fault(f"the key {_quoted(key.text)} is given twice")
            self._expect(":")
            found[key.text] = self._value()
        return found

    def _value(self) -> Any:
        if self._accept("{"):
            return self._object()
        if self._accept("["):
            return [self._value() for _ in self._items("]")]
        piece = self._take()
        if piece.kind == "string":
            return piece.text
        if piece.kind == "word" and piece.text in _CONSTANTS:
            return _CONSTANTS[piece.text]
        if piece.kind == "word" and (number := _NUMBER.fullmatch(piece.text)):
            return _number(piece, is_float=bool(number[1] or number[2]))
        raise _Fault(f"a value is expected, {piece} found")


_END = _Piece("end", "")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _number(piece: _Piece, *, is_float: bool) -> int | float:
    try:
        value = float(piece.text) if is_float else int(piece.text)
    except ValueError:  # Python reads integers of a few thousand digits at most
        value = math.inf
    if math.isinf(value) if isinstance(value, float) else value.bit_length() > MOST_BITS:
        raise _Fault(f"the number {piece} is out of range")
    return value
