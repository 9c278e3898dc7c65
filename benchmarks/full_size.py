"""Gemma 4 12B and its assistant as they are published, with random weights: every name, shape and byte, no meaning.

    python -m gemma_mlx.benchmarks.full_size DIR --layers 6

Written as a stream of one random buffer that repeats at shifting offsets, so that 24 GB cost seconds and 50 MB of
memory, and no two rows of a matrix are equal. Tokenizer and processor are the demo model's, so that programs which
read those files find them. Knows nothing of what converts, plans or loads them.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gemma_mlx.benchmarks.layout import (
    Size,
    Spec,
    assistant_config,
    assistant_tensors,
    target_config,
    target_tensors,
)

SPREAD = 0.02  # of matrices, as the published model was initialized; norms are as far from 1
_SIDE_FILES = ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "chat_template.jinja")
_BUFFER = 8_388_593  # prime: rows of any width begin at ever new places of the buffer
_DRAW = 1 << 20  # values drawn at a time


def write(directory: Path, config: dict[str, Any], tensors: Sequence[Spec], shards: int = 1) -> int:
    """Write a model directory, one file or `shards` with an index. Returns the bytes of all tensors."""
    directory.mkdir(parents=True, exist_ok=True)
    names = ["model.safetensors"]
    if shards > 1:
        names = [f"model-{number + 1:05}-of-{shards:05}.safetensors" for number in range(shards)]
    total, done, parts = sum(spec.nbytes for spec in tensors), 0, [list[Spec]() for _ in names]
    for spec in tensors:
        parts[done * shards // total].append(spec)
        done += spec.nbytes
    buffer = _random_buffer()
    for name, part in zip(names, parts, strict=True):
        with (directory / name).open("wb") as file:
            _write_file(file, part, buffer)
    if shards > 1:
        weight_map = {spec.name: name for name, part in zip(names, parts, strict=True) for spec in part}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    return total


def write_target(directory: Path, size: Size, shards: int = 1) -> int:
    """The target with the demo model's tokenizer, template and processor. Returns the bytes of all tensors."""
    total = write(directory, target_config(size), target_tensors(size), shards)
    demo = Path(str(files("gemma_mlx") / "assets" / "demo"))
    for name in _SIDE_FILES:
        shutil.copyfile(demo / name, directory / name)
    return total


def write_assistant(directory: Path, size: Size) -> int:
    """The assistant, one file. Returns the bytes of all tensors."""
    return write(directory, assistant_config(size), assistant_tensors(size))


def _write_file(file: BinaryIO, tensors: Sequence[Spec], buffer: np.ndarray) -> None:
    """A safetensors file: length of the header, header, tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for spec in tensors:
        header[spec.name] = {"dtype": "BF16", "shape": spec.shape, "data_offsets": [at, at + spec.nbytes]}
        at += spec.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    at = 0
    for spec in tensors:
        if spec.near_one:
            file.write(_bfloat16(1 + _as_float32(np.take(buffer, range(at, at + spec.count), mode="wrap"))).data)
        else:
            for part in _wrapped(buffer, at, spec.count):
                file.write(part.data)
        at += spec.count


def _random_buffer() -> np.ndarray:
    """Normal values of spread `SPREAD`, bfloat16 as uint16 (n,)."""
    generator = np.random.default_rng(0)
    buffer = np.empty(_BUFFER, np.uint16)
    for start in range(0, _BUFFER, _DRAW):
        part = buffer[start : start + _DRAW]
        part[:] = _bfloat16(SPREAD * generator.standard_normal(len(part), np.float32))
    return buffer


def _wrapped(buffer: np.ndarray, start: int, count: int) -> Iterator[np.ndarray]:
    """`count` values of the endlessly repeated buffer from `start`, in pieces that share its memory."""
    while count:
        first = start % len(buffer)
        part = buffer[first : first + count]
        yield part
        start, count = start + len(part), count - len(part)


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 → bfloat16 as uint16, cut off: rounding would change nothing about random numbers."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _as_float32(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.uint32) << 16).view(np.float32)


def main() -> None:
    """Write target and assistant below a directory and say what they take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--layers", type=int, default=48, help="a slice of so many layers, 6 or more (4.8 GB)")
    parser.add_argument("--shards", type=int, default=1, help="files of the target")
    options = parser.parse_args()
    size = Size(layers=options.layers)
    report = {
        "size": asdict(size),
        "target_bytes": write_target(options.directory / "target", size, options.shards),
        "assistant_bytes": write_assistant(options.directory / "assistant", size),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
