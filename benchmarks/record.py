"""Lines of results: what ran, where and with which versions, beside what was measured. Names no host and no path."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("gemma-mlx", "mlx")


def line(benchmark: str, command: str, fields: dict[str, Any], packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """One result with what it needs to be understood later."""
    return {
        "benchmark": benchmark,
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_memory_gb()} GB of memory",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        **fields,
    }


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


def append(path: Path | None, result: dict[str, Any]) -> None:
    """Print a result and append it to a file of JSON lines."""
    print(json.dumps(result, indent=1))
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(result) + "\n")


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most; whole numbers if `digits` is 0."""
    return {
        "median": round(statistics.median(values), digits or None),
        "min": round(min(values), digits or None),
        "max": round(max(values), digits or None),
    }


def busy() -> float:
    """Mean number of programs that wanted to run in the last minute."""
    return round(os.getloadavg()[0], 2)


def command(module: str, arguments: Sequence[str]) -> str:
    """What a person types to get the result again; places on this machine are left out."""
    shown = [f"{Path(word).name}" if word.startswith("/") else word for word in arguments]
    return " ".join(["python -m", module, *shown])
