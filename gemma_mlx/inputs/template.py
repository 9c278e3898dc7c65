"""The checkpoint's own chat template: messages as dictionaries -> one string with control-token literals.

The template is a program that came with the weights, so it runs in jinja's sandbox and sees only the messages, tools
and flags it is given. Nothing here knows tokens or media.
Source: the conventions of Hugging Face chat templates (blocks trimmed, loop controls, `raise_exception`,
`strftime_now`, a `tojson` that keeps unicode and does not escape HTML).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gemma_mlx.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment


class ChatTemplate:
    """One compiled template and the special-token strings it may print."""

    def __init__(self, source: str, tokens: Mapping[str, str], where: Path = Path("chat_template.jinja")) -> None:
        """Compile `source`; `tokens` are its `bos_token` and the like, `where` names the file in error messages.

        Raises `CheckpointError` if the source is no valid template.
        """
        from jinja2 import TemplateSyntaxError

        try:
            self._template: Template = _environment().from_string(source)
        except TemplateSyntaxError as fault:
            raise CheckpointError(f"{where}, line {fault.lineno}: {fault.message}: download it again") from None
        self._tokens = {"bos_token": "<bos>", "eos_token": "<eos>", **tokens}

    @classmethod
    def load(cls, directory: Path) -> "ChatTemplate":
        """Read `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`.

        Raises `CheckpointError` if there is neither or one cannot be read.
        """
        path, config_path = directory / "chat_template.jinja", directory / "tokenizer_config.json"
        config = _read_config(config_path) if config_path.exists() else {}
        tokens = {key: text for key, value in config.items() if key.endswith("_token") and (text := _token_text(value))}
        if path.exists():
            return cls(_read(path), tokens, path)
        source = _embedded(config.get("chat_template"))
        if source is None:
            raise CheckpointError(
                f"{directory} has no chat template (chat_template.jinja): take an instruction-tuned model (-it)"
            )
        return cls(source, tokens, config_path)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        enable_thinking: bool = False,
        preserve_thinking: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The conversation as the model reads it, `<bos>` included.

        A message has `role`, `content` (a string or a list of `{"type": "text", "text": ...}`, `{"type": "image"}`,
        ...) and what else the template knows (`reasoning_content`, `tool_calls`, ...). Raises `InputError` with the
        template's words if it refuses them.
        """
        from jinja2 import TemplateError

        # Operators and filters raise these at values that the template did not expect.
        unexpected = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
        try:
            return self._template.render(
                self._tokens,
                messages=messages,
                tools=tools,
                enable_thinking=enable_thinking,
                preserve_thinking=preserve_thinking,
                add_generation_prompt=add_generation_prompt,
            )
        except (TemplateError, *unexpected) as fault:
            raise InputError(f"the chat template refuses these messages: {' '.join(str(fault).split())}") from None


def _environment() -> "ImmutableSandboxedEnvironment":
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise CheckpointError(f"{path} cannot be read as text ({fault}): download it again") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_read(path))
    except json.JSONDecodeError as fault:
        raise CheckpointError(f"{path} is not JSON ({fault}): download it again") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}, not an object: download it again")
    return config


def _token_text(value: object) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _embedded(value: object) -> str | None:
    # Either one template or a list of named ones, of which "default" is for chatting.
    named = value if isinstance(value, list) else [{"name": "default", "template": value}]
    found = (entry.get("template") for entry in named if isinstance(entry, dict) and entry.get("name") == "default")
    source = next(found, None)
    return source if isinstance(source, str) else None
