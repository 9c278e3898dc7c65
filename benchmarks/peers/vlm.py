"""mlx-vlm as it is measured: `load`, `generate_step` under its own `wired_limit`, and its own drafter rounds.

The lazily loaded weights are cast to the wanted type of activations before they are read, packed ones stay packed; it
has no setting for that. Without a depth it drafts as many as the assistant's configuration says; above that number it
takes a depth as the most and goes by its own acceptance. Facts from mlx-vlm 0.7.10.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx

from gemma_mlx.benchmarks.peers.common import by_position, hide, make_resident, pictures_and_recordings, until
from gemma_mlx.benchmarks.peers.program import Asked, Settings
from gemma_mlx.errors import GemmaError


class Vlm:
    """Implements `Program`."""

    name = "mlx-vlm"

    def __init__(self) -> None:
        hide("torch", "torchvision")
        import mlx_vlm.generate
        import mlx_vlm.speculative.drafters  # noqa: F401

        self._model: Any = None
        self._processor: Any = None
        self._drafter: Any = None
        self._drafting: dict[str, Any] = {}

    def load(self, directory: Path, settings: Settings) -> None:
        from mlx_vlm import load
        from mlx_vlm.speculative.drafters import load_drafter

        try:
            self._model, self._processor = load(str(directory), lazy=True)
        except (ValueError, FileNotFoundError) as fault:
            raise GemmaError(f"mlx-vlm cannot load {directory}: {fault}") from fault
        make_resident(self._model, settings.dtype)
        self._processor.image_processor.max_soft_tokens = settings.image_tokens
        if settings.drafter is not None and settings.depth != 0:
            self._drafter, kind = load_drafter(str(settings.drafter), lazy=True)
            make_resident(self._drafter, settings.dtype)
            self._drafting = {"draft_model": self._drafter, "draft_kind": kind}
            if settings.depth is not None:
                self._drafting["draft_block_size"] = settings.depth + 1

    def generate(self, ids: list[int], tokens: int) -> Iterator[int]:
        return self._steps({"input_ids": mx.array([ids]), "pixel_values": None, "mask": None}, tokens)

    def ask(self, question: str, files: list[Path], tokens: int) -> Asked:
        from mlx_vlm.prompt_utils import apply_chat_template
        from mlx_vlm.utils import prepare_inputs, should_add_special_tokens

        pictures, recordings = pictures_and_recordings(files)
        config = self._model.config
        counts = {"num_images": len(pictures), "num_audios": len(recordings)}
        prompt = apply_chat_template(self._processor, config, question, enable_thinking=False, **counts)
        inputs = prepare_inputs(
            self._processor,
            images=pictures or None,
            audio=recordings or None,
            prompts=prompt,
            add_special_tokens=should_add_special_tokens(config.model_type, self._processor),
        )
        inputs = {"pixel_values": None, **inputs, "mask": inputs["attention_mask"]}
        del inputs["attention_mask"]
        stops = config.eos_token_id
        ended = until(self._steps(inputs, tokens), frozenset(stops if isinstance(stops, list) else [stops]))
        return Asked(inputs["input_ids"].shape[1], ended)

    def set_depth(self, depth: int | None) -> None:
        raise NotImplementedError("mlx-vlm is told how many drafts when it loads")

    def drafted(self) -> tuple[int, ...]:
        if self._drafter is None:
            return ()
        return by_position(zip(self._drafter.draft_lens, self._drafter.accept_lens, strict=True))

    def elsewhere(self) -> int:
        return 0

    def _steps(self, inputs: dict[str, Any], tokens: int) -> Iterator[int]:
        from mlx_vlm.generate import generate_step, generation_stream, wired_limit

        with wired_limit(self._model, [generation_stream]):
            steps = generate_step(model=self._model, **inputs, max_tokens=tokens, temperature=0.0, **self._drafting)
            for token, _ in steps:
                yield int(token)
