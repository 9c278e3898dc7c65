"""From published weights to an answer, at full size and without the published weights.

    python -m gemma_mlx.benchmarks.rehearsal --directory DIR --out result.jsonl

Fabricates Gemma 4 12B and its assistant with random weights, converts both with the recipe `4bit`, inspects and plans,
loads, and generates a few tokens after text, a picture of 70 tokens and a clip of a second. Needs 33 GB of disk and
9 GB of memory. On a CPU with two cores it takes about a quarter of an hour, nearly all of it reading the prompt. Every
stage is a process of its own, so that its peak is its own; stages that are done are not repeated, their figures stand
in DIR/stages.jsonl. Nothing is deleted.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_mlx.benchmarks import child, record
from gemma_mlx.benchmarks.layout import PUBLISHED, TINY, Size

RECIPE = "4bit"
STAGES = ("fabricate", "convert", "convert_assistant", "inspect", "planned", "load", "generate")
MARGIN = 300_000_000  # of the peak while loading over weights and one layer
Figures = dict[str, Any]


def bars(stage: str, figures: Figures) -> dict[str, bool]:
    """What a stage at full size has to show, and whether it does."""
    judged: Mapping[str, Callable[[], dict[str, bool]]] = {
        "convert": lambda: {"peak resident <= 1.0 GB": figures["peak_resident_bytes"] <= 1.0e9},
        "inspect": lambda: {
            "output <= 6.85 GB": figures["output_bytes"] <= 6.85e9,
            "vision and audio bfloat16": all(
                set(figures["bytes_by_part_and_type"][part]) == {"BF16"} for part in ("vision", "audio")
            ),
            "unpacked tensors bit-identical": figures["kept_tensors"] > 0 and figures["changed_tensors"] == 0,
        },
        "load": lambda: {
            "MLX peak over weights <= a layer + 300 MB": figures["mlx_peak_over_weights_bytes"]
            <= figures["largest_layer_bytes"] + MARGIN,
            "resident peak over weights <= a layer + 300 MB": figures["peak_over_weights_bytes"]
            <= figures["largest_layer_bytes"] + MARGIN,
        },
        "generate": lambda: {"predicted 0.97 to 1.10 of measured": 0.97 <= figures["predicted_over_measured"] <= 1.1},
    }
    return judged[stage]() if stage in judged else {}


def run_stage(stage: str, directory: Path, tiny: bool) -> Figures:
    """One stage in a process of its own; its figures, seconds and peak."""
    if stage in ("convert", "convert_assistant"):
        part = "target" if stage == "convert" else "assistant"
        source, output = directory / "published" / part, directory / "converted" / part
        output.parent.mkdir(exist_ok=True)
        module, arguments = "gemma_mlx", ["convert", str(source), "-o", str(output), "--recipe", RECIPE]
    else:
        module, arguments = __spec__.name, ["--directory", str(directory), "--stage", stage, *["--tiny"] * tiny]
    before = record.busy()
    done = child.run(module, arguments, os.environ)
    figures = json.loads(done.stdout.splitlines()[-1]) if module == __spec__.name else {"recipe": RECIPE}
    return {
        "seconds": round(done.seconds, 1),
        "peak_resident_bytes": done.peak_resident_bytes,
        "load_average": {"before": before, "after": record.busy()},
        **figures,
    }


def rehearse(directory: Path, tiny: bool, command: str) -> list[Figures]:
    """All stages that are not done yet. Returns the lines of all."""
    kept = directory / "stages.jsonl"
    lines = [json.loads(text) for text in kept.read_text().splitlines()] if kept.exists() else []
    for stage in STAGES[len(lines) :]:
        figures = run_stage(stage, directory, tiny)
        size = "tiny" if tiny else "published"
        fields = {"stage": stage, "size": size, "threads": os.environ.get("OMP_NUM_THREADS", "all"), **figures}
        if not tiny:
            fields["bars"] = bars(stage, figures)
        lines.append(record.line("rehearsal", command, fields))
        record.append(kept, lines[-1])
    return lines


def in_this_process(stage: str, directory: Path, size: Size) -> Figures:
    """A stage's figures; the processes that only convert need none of this."""
    from gemma_mlx.benchmarks import stages

    work: Mapping[str, Callable[[stages.Places, Size], Figures]] = {
        "fabricate": stages.fabricate,
        "inspect": stages.inspect,
        "planned": stages.planned,
        "load": stages.loaded,
        "generate": stages.generate,
    }
    return work[stage](stages.Places(directory), size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Rehearse, print every stage, and append all of them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="where everything is written")
    parser.add_argument("--tiny", action="store_true", help="a few MB instead, to try the script")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON lines file to append to when all is done")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    options.directory.mkdir(parents=True, exist_ok=True)
    if options.stage is not None:
        figures = in_this_process(options.stage, options.directory, TINY if options.tiny else PUBLISHED)
        print(json.dumps(figures))
        return
    lines = rehearse(options.directory, options.tiny, record.command(__spec__.name, given))
    if options.out is not None:
        with options.out.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    missed = [f"{line['stage']}: {name}" for line in lines for name, met in line.get("bars", {}).items() if not met]
    sys.exit("\n".join(["not met", *missed]) if missed else 0)


if __name__ == "__main__":
    main()
