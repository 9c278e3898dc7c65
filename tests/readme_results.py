"""The README, and the results that it links."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def results(name: str) -> list[dict[str, Any]]:
    """The lines of the results that the README links by that name."""
    (link,) = re.findall(rf"\[{name}\]\((.*?)\)", README)
    return [json.loads(line) for line in (ROOT / link).read_text(encoding="utf-8").splitlines()]
