"""What a model takes with given knobs at the worst moment, part by part. Knows sums."""

from gemma_mlx.memory.caches import snapshot_bytes
from gemma_mlx.memory.moments import worst
from gemma_mlx.memory.values import Backend, Knobs, ModelBytes, Part

PYTHON = 400_000_000  # resident beside MLX's buffers: interpreter, libraries, tokenizer


def parts(model: ModelBytes, backend: Backend, knobs: Knobs, earlier: Knobs | None = None) -> tuple[Part, ...]:
    """Always the same parts in the same order; one that is not needed takes nothing. `earlier`: as in `worst`."""
    moment = worst(model, backend, knobs, earlier)
    snapshot = snapshot_bytes(model.config.text_config, knobs.context, model.item)
    return (
        Part("weights", model.weights),
        Part("drafter", model.drafter_weights if knobs.drafter else 0),
        Part("keys and values", moment.caches),
        Part("snapshots", knobs.snapshots * snapshot),
        Part("working space", moment.working),
        Part("Python", PYTHON, counted=False),
    )
