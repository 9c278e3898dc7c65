"""mlx-lm as it is measured: `load` and `generate_step` under its own `wired_limit`; text only.

It takes `gemma4_unified` for its own `gemma4` and leaves the weights for pictures and sound out, so that it holds a
little less than the others. It looks for the number of tokens at the top of the configuration, where only some sizes of
the family have it: it is told. Facts from mlx-lm 0.32.2.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx

from gemma_mlx.benchmarks.peers.common import hide, make_resident, refuse_drafter
from gemma_mlx.benchmarks.peers.program import Asked, Settings
from gemma_mlx.config import ModelConfig
from gemma_mlx.errors import GemmaError


class Lm:
    """Implements `Program`."""

    name = "mlx-lm"

    def __init__(self) -> None:
        hide("torch", "torchvision")
        import mlx_lm.generate  # noqa: F401

        self._model: Any = None

    def load(self, directory: Path, settings: Settings) -> None:
        from mlx_lm import load

        refuse_drafter(self.name, settings)
        rows = ModelConfig.load(directory).text_config.vocab_size
        try:
            self._model, _ = load(str(directory), model_config={"vocab_size": rows}, lazy=True)
        except (ValueError, FileNotFoundError) as fault:
            line = str(fault).partition("\n")[0]
            raise GemmaError(f"mlx-lm cannot load {directory} ({line}): leave it out, or update mlx-lm") from fault
        make_resident(self._model, settings.dtype)

    def generate(self, ids: list[int], tokens: int) -> Iterator[int]:
        from mlx_lm.generate import generate_step, generation_stream, wired_limit

        with wired_limit(self._model, [generation_stream]):
            for token, _ in generate_step(mx.array(ids), self._model, max_tokens=tokens):
                yield int(token)

    def ask(self, question: str, files: list[Path], tokens: int) -> Asked:
        raise NotImplementedError("mlx-lm reads text only, no pictures or recordings")

    def set_depth(self, depth: int | None) -> None:
        raise NotImplementedError(f"{self.name} is measured without a drafter")

    def drafted(self) -> tuple[int, ...]:
        return ()

    def elsewhere(self) -> int:
        return 0
