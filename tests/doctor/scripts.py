"""Commands of another system, stood in for by shell scripts."""

import os
from pathlib import Path


def path_with(folder: Path, **scripts: str) -> str:
    """Write these shell scripts; a PATH on which they come first."""
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
