"""mlx-vlm answers recordings, in an interpreter of its own that need not have gemma-mlx.

    python live_peer.py MODEL

Reads the path of a sound file from each line of stdin and writes a JSON line to stdout: seconds from being asked to the
first text, tokens of the prompt, the beginning of the answer. The message is the recording alone, greedy, as its
command line would read it. `Peer` starts this file and speaks to it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_WRITTEN = 6  # tokens


@dataclass(frozen=True)
class Heard:
    """What the program reports."""

    first_s: float
    prompt_tokens: int
    text: str


class Peer:
    """The program in another interpreter, with a copy of a model in float32, the faster type on a CPU. The folder is
    for the copy, the recordings and what the program prints."""

    def __init__(self, python: Path, model: Path, folder: Path) -> None:
        self._folder, self._log = folder, folder / "log"
        _copy_in_float32(model, folder / "model")
        words = [str(python), __file__, str(folder / "model")]
        with self._log.open("w") as err:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True, bufsize=1
            )

    def answer(self, samples: np.ndarray) -> Heard:
        """To float32 `(n,)` of 16 kHz, from a file with 16 bits."""
        file, pipe_in, pipe_out = self._folder / "clip.wav", self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        with wave.open(str(file), "wb") as clip:
            clip.setparams((1, 2, 16000, 0, "NONE", ""))
            clip.writeframes((samples * 32768).astype(np.int16).tobytes())
        try:
            pipe_in.write(f"{file}\n")
            row = pipe_out.readline()
        except BrokenPipeError:
            row = ""
        if not row:
            self._process.wait()  # its last words may still be on their way
            raise SystemExit(f"mlx-vlm ended:\n{self._log.read_text()[-3000:]}")
        return Heard(**json.loads(row))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def _copy_in_float32(model: Path, copy: Path) -> None:
    import mlx.core as mx

    shutil.copytree(model, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = mx.load(str(model / "model.safetensors"))
    assert isinstance(weights, dict)
    wide = {name: array if array.dtype == mx.uint32 else array.astype(mx.float32) for name, array in weights.items()}
    mx.save_safetensors(str(copy / "model.safetensors"), wide, {"format": "pt"})


def answer(model: Any, processor: Any, path: str) -> Heard:
    """In the program: answer a file."""
    from mlx_vlm import apply_chat_template, stream_generate

    started, first, chunks = time.perf_counter(), 0.0, []
    prompt = apply_chat_template(processor, model.config, "", num_audios=1, enable_thinking=False)
    for chunk in stream_generate(model, processor, prompt, audio=[path], max_tokens=_WRITTEN, temperature=0.0):
        first = first or time.perf_counter() - started  # of an answer that says nothing as well
        chunks.append(chunk)
    return Heard(first, chunks[-1].prompt_tokens, "".join(chunk.text for chunk in chunks))


def main() -> None:
    """Answer until stdin ends."""
    with os.fdopen(os.dup(1), "w") as reports:
        os.dup2(2, 1)  # what mlx-vlm prints is no report
        from mlx_vlm import load

        model, processor = load(sys.argv[1])
        for row in sys.stdin:
            print(json.dumps(vars(answer(model, processor, row.rstrip("\n")))), file=reports, flush=True)


if __name__ == "__main__":
    main()
