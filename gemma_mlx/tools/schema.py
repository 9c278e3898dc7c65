"""JSON schemas of function parameters: from type hints, and what a value has to be to fit one.

Only the part of JSON schema that the prompt format of Gemma 4 can show is written: type, enum, items, properties,
required, nullable, description. Knows no functions and no calls.
"""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_TYPES: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
}


def of_hint(hint: object) -> dict[str, Any] | None:
    """The schema of a type hint; None for one that cannot be described.

    Described are str, int, float, bool, list, list[...], dict, dict[str, ...], Literal of one type, and each of them
    with None.
    """
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _of_choices(arguments)
    if origin in (Union, UnionType):
        return _of_optional(arguments)
    if origin in _TYPES and not arguments:  # `typing.List` and `typing.Dict`
        return of_hint(origin)
    if origin is dict:
        return {"type": "object"} if arguments[0] is str and of_hint(arguments[1]) else None
    if origin is list:
        items = of_hint(arguments[0])
        return items and {"type": "array", "items": items}
    return None


def _of_choices(choices: tuple[object, ...]) -> dict[str, Any] | None:
    kinds = {type(choice) for choice in choices}
    if len(kinds) != 1 or not kinds <= {str, int}:
        return None
    return {"type": _TYPES[kinds.pop()], "enum": list(choices)}


def _of_optional(choices: tuple[object, ...]) -> dict[str, Any] | None:
    others = [choice for choice in choices if choice is not NoneType]
    if len(others) != 1 or len(choices) != 2:
        return None
    schema = of_hint(others[0])
    return schema and schema | {"nullable": True}


def fitted(value: Any, schema: object, where: str) -> Any:
    """The value as a function takes it: 3.0 for an integer becomes 3. What a schema says beyond what is written here
    is ignored.

    Raises `ValueError` with what is wrong, in words that begin with `where`.
    """
    if not isinstance(schema, Mapping) or (value is None and schema.get("nullable")):
        return value
    kind = schema.get("type")
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(kind, str) and kind in _PYTHON and not _is(value, kind):
        raise ValueError(f"{where} must be of the type {kind}, {value!r} is not")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"{where} must be one of {', '.join(map(repr, schema['enum']))}, {value!r} is not")
    if isinstance(value, Mapping):
        return fitted_object(value, schema, f"{where}, ")
    if isinstance(value, list | tuple):
        items = schema.get("items", {})
        return [fitted(item, items, f"{where}, item {index}") for index, item in enumerate(value)]
    return value


def fitted_object(value: Mapping[str, Any], schema: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """As `fitted`, for a mapping: each of its values; what is required must be there."""
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise ValueError(f"{where}{name} is missing")
    return {key: fitted(item, properties.get(key, {}), f"{where}{key}") for key, item in value.items()}


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON[kind])
