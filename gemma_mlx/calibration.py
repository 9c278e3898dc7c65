"""What rounds of drafting cost on this machine, kept from one session to the next.

One JSON file for all models, beside the pulled ones or in the user's cache. It only saves measuring again: a file that
is missing, damaged, foreign or cannot be written is never a fault. Knows files, not how costs are used.
"""

import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gemma_mlx.generation.costs import Costs
from gemma_mlx.generation.depth import MOST
from gemma_mlx.models import HOME_VARIABLE

_FILE = "draft-costs.json"
_ENTRIES = 64  # kept; the oldest make room
_MOST_BYTES = 2**20  # a larger file is not ours
_RATIO = (1.0, 1000.0)  # no round is cheaper than a plain step


@dataclass(frozen=True)
class Setting:
    """What costs depend on beside mlx and the package: `device` is the name of the chip, `model` and `drafter` say
    which weights (a path or a fingerprint), `dtype` that of activations."""

    device: str
    model: str
    drafter: str
    dtype: str

    def key(self) -> str:
        """The entry of the file."""
        return json.dumps({**asdict(self), "system": platform.platform(), "mlx": version("mlx")}, sort_keys=True)


def costs_file() -> Path:
    """`$GEMMA_MLX_HOME/draft-costs.json`, or `gemma-mlx/draft-costs.json` in the user's cache."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(os.path.abspath(os.path.expanduser(home))) / _FILE
    from platformdirs import user_cache_path

    return user_cache_path("gemma-mlx", appauthor=False) / _FILE


def known_costs(setting: Setting) -> Costs | None:
    """What was remembered of a setting; None if there is nothing that can be read."""
    return _costs(_entries(costs_file()).get(setting.key()))


def remember_costs(setting: Setting, costs: Costs) -> bool:
    """Replace what is remembered of a setting, at once or not at all. False if nothing was measured or the file
    cannot be written."""
    if not costs.ratios:
        return False
    path, key = costs_file(), setting.key()
    others = [(name, entry) for name, entry in _entries(path).items() if name != key]
    entry = {"ratios": {str(depth): ratio for depth, ratio in costs.ratios.items()}, "position": costs.position}
    text = json.dumps(dict([*others[1 - _ENTRIES :], (key, entry)]), indent=1)
    partial: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{_FILE}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(partial, path)
    except OSError:
        if partial is not None and os.path.exists(partial):
            os.unlink(partial)
        return False
    return True


def _entries(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _costs(entry: object) -> Costs | None:
    """An entry of the file as costs; None if it is none."""
    if not isinstance(entry, Mapping):
        return None
    ratios, position = entry.get("ratios"), entry.get("position")
    if not isinstance(ratios, Mapping) or type(position) is not int or position < 0 or not ratios:
        return None
    depths = {str(depth): depth for depth in range(1, MOST + 1)}
    if not all(depth in depths and _plausible(ratio) for depth, ratio in ratios.items()):
        return None
    return Costs({depths[depth]: float(ratio) for depth, ratio in ratios.items()}, position)


def _plausible(ratio: object) -> bool:
    return type(ratio) in (int, float) and isinstance(ratio, int | float) and _RATIO[0] <= ratio <= _RATIO[1]
