"""Conversion speed and peak resident memory against mlx-vlm: the same fabricated slice of the 12B, in one run.

    python -m gemma_mlx.benchmarks.conversion --directory DIR --rounds 5 --out result.jsonl

Every conversion is a process of its own and is timed from start to exit, imports included; what they alone take is
in the result (`start_seconds`). Rounds alternate A B, B A …; before each, the source is read once into the page cache
and what was written before is on disk. Ratios are those within a round. Both make 4-bit in groups of 64; mlx-vlm packs
the sound projection too. Needs the `bench` extra.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlx.core as mx

from gemma_mlx.benchmarks import child, record
from gemma_mlx.benchmarks.child import Child
from gemma_mlx.benchmarks.full_size import write_target
from gemma_mlx.benchmarks.layout import TINY, Size

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}  # a lookup of files that are not there must not be timed
_READ = 1 << 24


@dataclass(frozen=True)
class Program:
    """What converts: a module, and its arguments with SRC and OUT to be filled in."""

    module: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        return f"python -m {self.module} {' '.join(self.arguments)}"

    def run(self, source: Path, output: Path) -> Child:
        """Convert; `output` must not exist."""
        filled = [{"SRC": str(source), "OUT": str(output)}.get(argument, argument) for argument in self.arguments]
        return child.run(self.module, filled, ENVIRONMENT)

    def start_seconds(self) -> float:
        """What the program takes to do nothing."""
        return child.run(self.module, [self.arguments[0], "--help"], ENVIRONMENT).seconds


OURS = Program("gemma_mlx", ("convert", "SRC", "-o", "OUT"))


def programs() -> dict[str, Program]:
    """Ours and the peer, 4-bit in groups of 64."""
    if find_spec("mlx_vlm") is None:
        sys.exit("mlx-vlm is not installed: in a clone, pip install '.[bench]'")
    return {
        "ours": OURS,
        "peer": Program("mlx_vlm", ("convert", "--hf-path", "SRC", "--mlx-path", "OUT", "-q")),
    }


def alternate(both: dict[str, Program], source: Path, rounds: int) -> dict[str, list[Child]]:
    """Convert with each program, in changing order. What was written last stays: `converted`."""
    runs: dict[str, list[Child]] = {name: [] for name in both}
    outputs = {name: converted(source, name) for name in both}
    for number in range(rounds):
        for name in list(both) if number % 2 == 0 else list(both)[::-1]:
            shutil.rmtree(outputs[name], ignore_errors=True)
            settle(source)
            runs[name].append(both[name].run(source, outputs[name]))
            last = runs[name][-1]
            peak = last.peak_resident_bytes / 1e9
            print(f"round {number + 1}: {name} {last.seconds:.1f} s, {peak:.2f} GB", file=sys.stderr)
    return runs


def converted(source: Path, name: str) -> Path:
    """Where that program puts what it makes of the source."""
    return source.parent / f"converted by {name}"


def compare(both: dict[str, Program], source: Path, rounds: int) -> dict[str, Any]:
    """Alternate the programs. Returns seconds, peaks and bytes of each, and the ratios within rounds."""
    runs = alternate(both, source, rounds)
    outputs = {name: converted(source, name) for name in both}
    result: dict[str, Any] = {
        name: {
            "command": program.command,
            "seconds": record.spread([run.seconds for run in runs[name]]),
            "start_seconds": round(program.start_seconds(), 2),
            "peak_resident_bytes": record.spread([run.peak_resident_bytes for run in runs[name]], 0),
            "output_bytes": tensor_bytes(outputs[name]),
        }
        for name, program in both.items()
    }
    pairs = list(zip(runs["ours"], runs["peer"], strict=True))
    result["times_as_fast"] = record.spread([peer.seconds / ours.seconds for ours, peer in pairs])
    result["times_its_peak"] = record.spread([o.peak_resident_bytes / p.peak_resident_bytes for o, p in pairs])
    result["tensors"] = agreement(outputs["ours"], outputs["peer"])
    return result


def settle(source: Path) -> None:
    """Everything on disk that should be, and the source in the page cache."""
    os.sync()
    for path in source.glob("*.safetensors"):
        with path.open("rb") as file:
            while file.read(_READ):
                pass


def tensor_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))


def agreement(ours: Path, theirs: Path) -> dict[str, int]:
    """How many tensors are the same, bit for bit, of how many that both name; and how many each names alone."""
    a, b = _arrays(ours), _arrays(theirs)
    shared = a.keys() & b.keys()
    same = sum(_same(a.pop(name), b.pop(name)) for name in sorted(shared))
    return {"shared": len(shared), "same": same, "only_ours": len(a), "only_peer": len(b)}


def _arrays(directory: Path) -> dict[str, mx.array]:
    """All tensors of a directory, each read when it is needed."""
    arrays: dict[str, mx.array] = {}
    for path in sorted(directory.glob("*.safetensors")):
        loaded = mx.load(str(path))
        assert isinstance(loaded, dict)
        arrays |= loaded
    return arrays


def _same(a: mx.array, b: mx.array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(mx.array_equal(a, b).item())


def main(arguments: Sequence[str] | None = None) -> None:
    """Fabricate a slice, compare, print and append one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where to put 8 GB for the time being; default: a temporary one")
    parser.add_argument("--layers", type=int, default=6, help="of 48; 6 are 4.84 GB")
    parser.add_argument("--tiny", action="store_true", help="a few MB instead, to try the script")
    parser.add_argument("--rounds", type=int, default=5, help="alternations")
    parser.add_argument("--out", type=Path, help="JSON lines file to append to")
    options = parser.parse_args(arguments)
    size = TINY if options.tiny else Size(layers=options.layers)
    before = record.busy()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        source = Path(folder) / "source"
        source_bytes = write_target(source, size)
        result = compare(programs(), source, options.rounds)
    given = sys.argv[1:] if arguments is None else list(arguments)
    fields = {
        "source": {"layers": size.layers, "tensor_bytes": source_bytes, "dtype": "bfloat16"},
        "rounds": options.rounds,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load_average": {"before": before, "after": record.busy()},
        **result,
    }
    command = record.command(__spec__.name, given)
    record.append(options.out, record.line("conversion", command, fields, (*record.PACKAGES, "mlx-vlm")))


if __name__ == "__main__":
    main()
