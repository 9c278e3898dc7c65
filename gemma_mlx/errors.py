"""The errors that a user can cause, and nothing else.

Each message is one line: the value, the limit, the next step. The command line prints it without a traceback and
exits with 1. Anything that is not a `GemmaError` is a bug of ours and keeps its traceback.
"""

import re

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # of terminals, lines and directions


class GemmaError(Exception):
    """A fault that the user can mend: wrong input, missing file, too little memory."""

    def __str__(self) -> str:
        """The message, one line of visible text whatever the names hold that it took from files and servers."""
        return _CONTROLS.sub("�", super().__str__())


class ConfigError(GemmaError):
    """A `config.json` that is missing, malformed or of a model that is not supported."""


class CheckpointError(GemmaError):
    """Weights that are missing, truncated, wrongly shaped or wrongly named."""


class InputError(GemmaError):
    """An attachment or prompt that cannot be read or placed."""


class ContextError(GemmaError):
    """More tokens than the context, the window or the rollback slack allows."""


class MemoryPlanError(GemmaError):
    """More memory than the machine has, or than the person allowed."""


class HubError(GemmaError):
    """A download that failed, or that brought something else than was asked for."""


class StoreError(GemmaError):
    """A saved conversation that is missing, damaged, open elsewhere or cannot be written."""
