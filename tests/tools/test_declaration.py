"""What a model is told about a function, and which functions it cannot be told about."""

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from typing import Any, Dict, List, Literal, Optional, Union  # noqa: UP035

import pytest

import gemma_mlx as gm
from gemma_mlx.errors import InputError
from gemma_mlx.tools.schema import fitted, of_hint


@gm.tool
def weather(city: str, days: int = 1, unit: Literal["c", "f"] = "c", tags: list[str] | None = None) -> dict[str, Any]:
    """Look up the weather
    forecast.

    Not for the past.

    Args:
        city: where, a name
            such as Zurich
            or: any city
        unit: of the temperature
        tags:
            what else to show

    Returns:
        days: nothing of the parameters
    """
    return {"city": city, "days": days, "unit": unit, "tags": tags}


def test_name_types_and_docstring_are_declared() -> None:
    assert weather.declaration == {
        "name": "weather",
        "description": "Look up the weather forecast.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "where, a name such as Zurich or: any city"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["c", "f"], "description": "of the temperature"},
                "tags": {
                    "type": "array",
                    "items": {"type": "string"},
                    "nullable": True,
                    "description": "what else to show",
                },
            },
            "required": ["city"],
        },
    }


def test_a_declared_function_is_still_one() -> None:
    assert weather("Bern", days=2)["days"] == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        weather.name = "other"  # type: ignore[misc]


def test_a_function_without_parameters_or_docstring() -> None:
    @gm.tool
    def ping() -> str:
        return "pong"

    assert ping.declaration == {"name": "ping", "description": "", "parameters": {"type": "object", "properties": {}}}


def test_a_method_is_a_tool_of_its_object() -> None:
    class Notes:
        """Texts."""

        def __init__(self) -> None:
            self.texts: list[str] = []

        def add(self, text: str) -> int:
            """Write it down.
            Args:
              text: what
            """
            self.texts.append(text)
            return len(self.texts)

    notes = Notes()
    add = gm.tool(notes.add)
    assert add.description == "Write it down."
    assert add.parameters["properties"] == {"text": {"type": "string", "description": "what"}}
    assert (add("x"), notes.texts) == (1, ["x"])


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (dict[str, int], {"type": "object"}),
        (list[list[int]], {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        (list[int | None], {"type": "array", "items": {"type": "integer", "nullable": True}}),
        (Optional[str], {"type": "string", "nullable": True}),  # noqa: UP045
        (Union[None, str], {"type": "string", "nullable": True}),  # noqa: UP007
        (Literal[1, 2] | None, {"type": "integer", "enum": [1, 2], "nullable": True}),
        (int | str, None),
        (int | str | None, None),
        (Literal["a", 1], None),
        (Literal[True], None),
        (list[date], None),
        (dict[int, str], None),
        (dict[str, date], None),
        (tuple[int, int], None),
        (Any, None),
        (None, None),
        (date, None),
        (Callable[[], int], None),
        (List, {"type": "array"}),  # noqa: UP006
        (Dict, {"type": "object"}),  # noqa: UP006
    ],
)
def test_schemas_of_type_hints(hint: object, schema: dict[str, Any] | None) -> None:
    assert of_hint(hint) == schema


def _unhinted(city, days: int = 1):  # type: ignore[no-untyped-def]
    return city


def _dated(when: date) -> None: ...


def _forward(when: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def _garbled(when: "int[") -> None: ...  # type: ignore[valid-type]  # noqa: F722


def _inside(when: "date.Nowhere") -> None: ...  # type: ignore[name-defined]


def _many(*cities: str) -> None: ...


def _named(**cities: str) -> None: ...


def _positional(city: str, /) -> None: ...


async def _waiting(city: str) -> None: ...


def _yielding(city: str) -> Iterator[str]:
    yield city


async def _both(city: str) -> AsyncIterator[str]:
    yield city


def _misspelt(city: str) -> None:
    """Look it up.

    Args:
        town: where
    """


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_unhinted, "city of _unhinted has no type"),
        (_dated, r"when of _dated is a datetime\.date.*use str"),
        (_forward, "_forward.*Nowhere"),
        (_garbled, "the type hints of _garbled cannot be read"),
        (_inside, "the type hints of _inside cannot be read"),
        (_many, r"_many.*\*cities"),
        (_named, r"_named.*\*\*cities"),
        (_positional, "_positional.*city"),
        (_waiting, "_waiting.*neither async"),
        (_yielding, "_yielding.*nor a generator"),
        (_both, "_both.*neither async"),
        (_misspelt, "_misspelt describes town"),
        (lambda: 1, "function with a name"),
        (functools.partial(_dated), "function with a name"),
        (3, "3 cannot be a tool"),
    ],
)
def test_what_cannot_be_described_is_named(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        gm.tool(function)


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        (3.0, {"type": "integer"}, 3),
        (3, {"type": "number"}, 3),
        (None, {"type": "string", "nullable": True}, None),
        ([1.0, 2], {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ({"a": 2.0}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": 2}),
        ({"b": 2.0}, {"type": "object"}, {"b": 2.0}),
        ("x", {"type": ["string", "null"]}, "x"),
        ("x", {"type": "STRING"}, "x"),
        ("x", True, "x"),
    ],
)
def test_values_that_fit(value: object, schema: object, expected: object) -> None:
    found = fitted(value, schema, "x")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "schema", "words"),
    [
        ("3", {"type": "integer"}, "x must be of the type integer, '3' is not"),
        (3.5, {"type": "integer"}, "integer"),
        (True, {"type": "integer"}, "integer"),
        (1, {"type": "boolean"}, "boolean"),
        (None, {"type": "string"}, "string, None is not"),
        ("d", {"type": "string", "enum": ["c", "f"]}, "one of 'c', 'f'"),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, "x, item 1 must be"),
        ({}, {"type": "object", "required": ["a"]}, "x, a is missing"),
        ({"a": 1}, {"type": "object", "properties": {"a": {"type": "string"}}}, "x, a must be"),
    ],
)
def test_values_that_do_not_fit(value: object, schema: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fitted(value, schema, "x")
