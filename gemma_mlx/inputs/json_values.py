"""JSON values as Python holds them: None, booleans, numbers, strings, lists or tuples, mappings with text keys.

What tools are declared with, called with and answer is such a value. Knows no tools and no text format.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gemma_mlx.errors import InputError

MOST_LEVELS = 64  # of lists and mappings inside one another
MOST_BITS = 14_000  # of an integer; Python prints at most 4,300 digits


def check_mapping(value: object, where: str) -> None:
    """Raises `InputError` if `value` is no mapping of JSON values; `where` begins the message."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: a mapping is needed, this is {_shown(value)}")
    _check(value, where, ())


def strings(value: object) -> Iterator[str]:
    """Every string inside a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def with_strings(value: object, change: Callable[[str], str]) -> object:
    """A copy of a value in which every string and every key is changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): with_strings(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_strings(item, change) for item in value]
    return value


def plain(value: object) -> Any:
    """A copy of a value in dictionaries and lists, as Python's `json` takes it."""
    return with_strings(value, str.__str__)


def _check(value: object, where: str, path: tuple[str, ...]) -> None:
    if len(path) >= MOST_LEVELS and isinstance(value, Mapping | list | tuple):
        raise InputError(f"{where}: more than {MOST_LEVELS} lists and mappings inside one another, give a flatter one")
    at = ", ".join((where, *path))
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(f"{at}: the key {_shown(key)} must be text")
            _check(item, where, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, where, (*path, str(index)))
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{at}: JSON has no number {value}, give a finite one or null")
    elif isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise InputError(f"{at}: an integer of {value.bit_length()} bits, the limit is {MOST_BITS}, give it as text")
    elif not isinstance(value, str | int | float | None):
        raise InputError(f"{at}: JSON cannot hold {_shown(value)}, give text, numbers, lists or mappings")


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"
