"""What macOS says of itself, a function for each fact, so that all but these lines runs anywhere.

Knows commands and their output: not what is good or bad. Nothing here has run on a Mac: written from sw_vers(1),
sysctl(3) (`vm.swapusage`, `sysctl.proc_translated`) and the `iogpu.wired_limit_mb` key of Apple's GPU driver.
"""

import os
import re
import subprocess

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def version() -> str:
    """The version, such as "26.2"; "" if unknown. Not `platform.mac_ver`, which says 16 for 26 if Python was built
    for older systems (python/cpython#135675)."""
    return output("sw_vers", "-productVersion")


def translated() -> bool:
    """Whether this Python was built for Intel and is translated by Rosetta, where MLX has no Metal."""
    return output("sysctl", "-n", "sysctl.proc_translated") == "1"


def swap_used() -> int | None:
    """Bytes swapped out; None if unknown."""
    return parse_swap(output("sysctl", "-n", "vm.swapusage"))


def wired_limit() -> int:
    """Bytes that the GPU may wire, set by hand (`sudo sysctl iogpu.wired_limit_mb=N`, until the next start); 0: not."""
    text = output("sysctl", "-n", "iogpu.wired_limit_mb")
    return int(text) * 2**20 if text.isdecimal() else 0


def parse_swap(text: str) -> int | None:
    """Bytes in use, of "total = 2048.00M  used = 934.25M  free = 1113.75M  (encrypted)"."""
    found = re.search(r"used = (\d+)[.,](\d+)([KMG])", text)
    return int(float(f"{found[1]}.{found[2]}") * _UNITS[found[3]]) if found else None


def output(*command: str) -> str:
    """What a command prints, stripped; "" if it fails or is not there."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
