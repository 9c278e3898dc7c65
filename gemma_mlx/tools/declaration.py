"""A Python function as a tool: what a model is told about it, from its name, type hints and docstring.

    @gm.tool
    def weather(city: str, days: int = 1) -> dict:
        \"\"\"Look up the weather forecast.

        Args:
            city: where, a name such as Zurich
            days: how many days ahead
        \"\"\"

Knows no conversations: nothing is called here but what the caller calls.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints

from gemma_mlx.errors import InputError
from gemma_mlx.tools.schema import of_hint

P = ParamSpec("P")
R = TypeVar("R")
_SECTION = "Args:"
_ENTRY = re.compile(r"(\s+)(\w+):\s*(.*)")
_HINTS = "str, int, float, bool, list[…], dict, Literal[…] or one of them with None"


@dataclass(frozen=True)
class Tool(Generic[P, R]):
    """A function that a model may ask for. `parameters` is the JSON schema of an object with its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[P, R]

    @property
    def declaration(self) -> dict[str, Any]:
        """What the model is told: the form in which `Chat` and `PromptBuilder` take it."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)


def tool(function: Callable[P, R]) -> Tool[P, R]:
    """Declare a function: the first paragraph of its docstring is the description, lines `name: text` under "Args:"
    describe parameters, and parameters with a default may be left out.

    Raises `InputError` for a function that a model cannot call by names with JSON values.
    """
    if not (inspect.isfunction(function) or inspect.ismethod(function)) or function.__name__ == "<lambda>":
        raise InputError(f"{function!r} cannot be a tool: give a function with a name")
    name = function.__name__
    later = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(returns_later(function) for returns_later in later):
        raise InputError(f"{name} cannot be a tool: give a plain function, neither async nor a generator")
    try:
        hints = get_type_hints(function)
    except (AttributeError, NameError, SyntaxError, TypeError) as fault:
        raise InputError(f"the type hints of {name} cannot be read: {fault}") from None
    parameters = inspect.signature(function).parameters
    description, texts = _described(inspect.getdoc(function) or "")
    for unknown in texts.keys() - parameters.keys():
        raise InputError(f"the docstring of {name} describes {unknown}, which is not one of its parameters")
    properties = {
        each.name: _schema(name, each, hints) | ({"description": texts[each.name]} if each.name in texts else {})
        for each in parameters.values()
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required := [each.name for each in parameters.values() if each.default is each.empty]:
        schema["required"] = required
    return Tool(name, description, schema, function)


def _schema(name: str, parameter: inspect.Parameter, hints: Mapping[str, object]) -> dict[str, Any]:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise InputError(f"{name} cannot be a tool: its parameter {parameter} cannot be given by name")
    if parameter.name not in hints:
        raise InputError(f"the parameter {parameter.name} of {name} has no type: annotate it with {_HINTS}")
    schema = of_hint(hints[parameter.name])
    if schema is None:
        hint = inspect.formatannotation(hints[parameter.name])
        raise InputError(f"the parameter {parameter.name} of {name} is a {hint}, which has no schema: use {_HINTS}")
    return schema


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """First paragraph in one line, and the texts of the parameters."""
    head, _, section = f"\n{docstring}".partition(f"\n{_SECTION}\n")
    first = head.strip().split("\n\n", 1)[0]
    texts: dict[str, str] = {}
    name, depth = "", 0
    for line in section.split("\n"):
        entry = _ENTRY.fullmatch(line)
        if entry and (not name or len(entry[1]) <= depth):
            name, depth = entry[2], len(entry[1])
            texts[name] = entry[3]
        elif name and line.startswith(" "):
            texts[name] = f"{texts[name]} {line.strip()}".strip()
        else:
            break
    return " ".join(first.split()), texts
