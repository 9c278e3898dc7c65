"""JSON objects read from files, with entries that are checked as they are taken.

Knows JSON and types: not what a key means.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma_mlx.errors import ConfigError

_HUGE = 1e300  # numbers beyond it, infinity included, are damage


@dataclass(frozen=True)
class Fields:
    """A JSON object whose entries are checked as they are read; null counts as absent. Faults are `ConfigError`s."""

    raw: Mapping[str, Any]
    where: Path

    def fault(self, key: str, expected: str) -> ConfigError:
        """The error that names the file, the key, its value and what was expected."""
        return ConfigError(f"{self.where}: {key} is {reprlib.repr(self.raw.get(key))}, expected {expected}")

    def needed(self, key: str) -> "Fields":
        """An object that must be there."""
        section = self.section(key)
        if section is None:
            raise ConfigError(f"{self.where} has no {key}: download it again")
        return section

    def section(self, key: str) -> "Fields | None":
        """An object, None if absent."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.fault(key, "an object")
        return None if value is None else Fields(value, self.where)

    def integer(self, key: str, default: int | None = None, least: int = 1, most: int = 2**24) -> int:
        """A whole number within the bounds; without a default it must be there."""
        value = default if self.raw.get(key) is None else self.raw[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fault(key, f"a whole number from {least} to {most}")
        return value

    def number(self, key: str, default: float | None, *, zero: bool = False) -> float:
        """A positive number, or 0 where `zero` allows it; without a default it must be there."""
        value = default if self.raw.get(key) is None else self.raw[key]
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not (0 < value < _HUGE or (value == 0 and zero))
        ):
            raise self.fault(key, "a number, 0 or more" if zero else "a positive number")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false; false if absent."""
        value = self.raw.get(key) or False
        if not isinstance(value, bool):
            raise self.fault(key, "true or false")
        return value

    def ids(self, key: str) -> tuple[int, ...]:
        """One token id or a list of them, empty if absent."""
        value = self.raw.get(key)
        found = [] if value is None else value if isinstance(value, list) else [value]
        if any(not isinstance(each, int) or isinstance(each, bool) or each < 0 for each in found):
            raise self.fault(key, "a token id or a list of them")
        return tuple(found)


def read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON object. Raises `ConfigError` that names the file if it is missing, locked or not an object."""
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path} does not exist: give the directory of a model, or `demo`") from None
    except PermissionError as fault:
        raise ConfigError(f"{path} cannot be read ({fault.strerror}): check its permissions") from None
    except (OSError, ValueError, RecursionError) as fault:
        raise ConfigError(f"{path} cannot be read as JSON ({fault}): download it again") from None
    if not isinstance(parsed, dict):
        raise ConfigError(f"{path} holds a {type(parsed).__name__}, not an object: download it again")
    return parsed
