"""What keys and values depend on beside the tokens: configuration, weights, activations, the array library.

Two directories with the same content have the same fingerprint, two fine-tunes of one architecture different ones.
Tokenizer and template are left out on purpose: caches know their positions by token ids and by the content of media,
so another template only shares less of them. Knows a model directory: not conversations.
"""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from gemma_mlx.checkpoint import Tensor, read_tensors

SAMPLE = 256  # bytes of each tensor that are compared
_ARITHMETIC = 1  # one more whenever the model computes other keys or values from the same weights


def fingerprint(directory: Path, dtype: str) -> str:
    """Of the model in `directory` with activations of `dtype`, 32 hexadecimal digits.

    Reads the headers and `SAMPLE` bytes from the middle of each tensor: a fine-tune moves nearly all of them, if only
    a little. Raises `CheckpointError` if files are missing or damaged, `OSError` if they cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{_ARITHMETIC} {version('mlx')} {dtype} ".encode())
    digest.update((directory / "config.json").read_bytes())
    files: dict[Path, list[Tensor]] = {}
    for _, tensor in sorted(read_tensors(directory).items()):
        files.setdefault(tensor.file, []).append(tensor)
        digest.update(json.dumps([tensor.name, tensor.dtype, tensor.shape]).encode())
    for file, tensors in files.items():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            for tensor in tensors:
                digest.update(_sample(descriptor, tensor))
        finally:
            os.close(descriptor)
    return digest.hexdigest()


def _sample(descriptor: int, tensor: Tensor) -> bytes:
    start = max(0, tensor.nbytes - SAMPLE) // 2
    return os.pread(descriptor, min(SAMPLE, tensor.nbytes), tensor.start + start)
