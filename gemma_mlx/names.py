"""One table: every publisher's tensor name → ours.

Ours are the published names without the leading `model.`. Knows strings only; whether a name belongs to the model at
hand is decided where the weights are loaded. Source: tensor listings of google/gemma-4-12B-it
(`model.vision_embedder…`), of transformers' modules (`model.embed_vision.patch_…`) and of mlx-vlm conversions
(`language_model.model.…`).
"""

import re

_RULES = (
    (re.compile(r"^model\."), ""),
    (re.compile(r"^language_model\.model\."), "language_model."),
    (re.compile(r"^embed_vision\.(patch_ln1|patch_dense|patch_ln2|pos_embedding|pos_norm)"), r"vision_embedder.\1"),
    (re.compile(r"^embed_vision\.multimodal_embedder\."), "embed_vision."),
)
_DERIVED = re.compile(r"rotary_emb\.\w*inv_freq$|\.embed_scale$")


def target_name(published: str) -> str | None:
    """Our name of a tensor of the target; None for buffers that follow from the config and are never loaded."""
    if _DERIVED.search(published):
        return None
    name = published
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name


def drafter_name(published: str) -> str | None:
    """Our name of a tensor of the assistant: the published one."""
    return None if _DERIVED.search(published) else published


def mlx_target_name(ours: str) -> str:
    """The name of a tensor or module of the target in MLX checkpoints, so that mlx-vlm finds it too."""
    return re.sub(r"^language_model\.", "language_model.model.", ours)
