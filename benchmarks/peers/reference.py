"""transformers as it is measured: `AutoModelForImageTextToText` and `generate`, told to go on whatever comes.

It reads the published layout, not what is packed for MLX. It runs on a GPU that torch knows, else on the CPU. Its
`generate` hands ids to a streamer from a thread. What it does with pictures differs from the reference masks, and its
processor needs torchvision: it is measured with text only. Facts from transformers 5.23.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from gemma_mlx.benchmarks.peers.common import hide, refuse_drafter
from gemma_mlx.benchmarks.peers.program import Asked, Settings
from gemma_mlx.errors import GemmaError


class Reference:
    """Implements `Program`."""

    name = "transformers"

    def __init__(self) -> None:
        hide("torchvision")
        import torch  # noqa: F401
        from transformers import AutoModelForImageTextToText, GenerationConfig  # noqa: F401

        self._model: Any = None

    def load(self, directory: Path, settings: Settings) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, GenerationConfig

        refuse_drafter(self.name, settings)
        refuse_packed(directory)
        device = "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "float32" if settings.dtype == "auto" and device == "cpu" else settings.dtype
        try:
            self._model, found = AutoModelForImageTextToText.from_pretrained(
                directory, dtype=dtype, local_files_only=True, output_loading_info=True
            )
        except (ValueError, OSError) as fault:
            line = str(fault).strip().partition("\n")[0]
            raise GemmaError(f"transformers cannot load {directory}: {line}") from fault
        if missing := sorted(found["missing_keys"]):
            raise GemmaError(f"transformers misses {missing[0]} in {directory}: name a checkpoint as it was published")
        self._model.to(device).eval()
        self._model.generation_config = GenerationConfig(do_sample=False)  # greedy, and no id ends it

    def generate(self, ids: list[int], tokens: int) -> Iterator[int]:
        import torch

        prompt = torch.tensor([ids], device=self._model.device)
        stream = _Stream()

        def work() -> None:
            try:
                self._model.generate(
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, streamer=stream
                )
            finally:
                stream.arrived.put(None)  # of a fault too: then its traceback is in the log and ids are missing

        Thread(target=work, daemon=True).start()
        count = 0
        while (token := stream.arrived.get()) is not None:
            count += 1
            yield token
        if count != tokens:
            raise RuntimeError(f"transformers gave {count} of {tokens} ids")

    def ask(self, question: str, files: list[Path], tokens: int) -> Asked:
        raise NotImplementedError("transformers is measured with text only")

    def set_depth(self, depth: int | None) -> None:
        raise NotImplementedError(f"{self.name} is measured without a drafter")

    def drafted(self) -> tuple[int, ...]:
        return ()

    def elsewhere(self) -> int:
        return 0


class _Stream:
    """What `generate` takes for a streamer: the prompt comes first, then each id."""

    def __init__(self) -> None:
        self.arrived: SimpleQueue[int | None] = SimpleQueue()
        self._started = False

    def put(self, value: Any) -> None:
        if self._started:
            for token in value.reshape(-1).tolist():
                self.arrived.put(token)
        self._started = True

    def end(self) -> None:
        """All ids are there."""


def refuse_packed(directory: Path) -> None:
    """Raises `GemmaError` for a directory that is packed for MLX, or none of a model."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise GemmaError(f"{directory} has no config.json that can be read: name a model directory") from fault
    if "quantization" in config:
        raise GemmaError(
            f"{directory} is packed for MLX, which transformers cannot read: name the published bfloat16 checkpoint"
        )
