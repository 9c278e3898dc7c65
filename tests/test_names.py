"""The table of names against listings of what the publishers wrote."""

import pytest

from gemma_mlx.names import drafter_name, target_name
from tests import saved

LAYER = "language_model.layers.0.self_attn.q_proj"
VISION = "vision_embedder.patch_dense"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        # google/gemma-4-12B-it
        ("model.language_model.embed_tokens.weight", "language_model.embed_tokens.weight"),
        ("model.language_model.layers.0.self_attn.q_proj.weight", f"{LAYER}.weight"),
        ("model.language_model.layers.47.layer_scalar", "language_model.layers.47.layer_scalar"),
        ("model.language_model.norm.weight", "language_model.norm.weight"),
        ("model.vision_embedder.patch_dense.bias", f"{VISION}.bias"),
        ("model.vision_embedder.pos_embedding", "vision_embedder.pos_embedding"),
        ("model.embed_vision.embedding_projection.weight", "embed_vision.embedding_projection.weight"),
        ("model.embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"),
        # the modules of transformers
        ("model.embed_vision.patch_ln1.bias", "vision_embedder.patch_ln1.bias"),
        ("model.embed_vision.patch_dense.weight", f"{VISION}.weight"),
        ("model.embed_vision.patch_ln2.weight", "vision_embedder.patch_ln2.weight"),
        ("model.embed_vision.pos_embedding", "vision_embedder.pos_embedding"),
        ("model.embed_vision.pos_norm.weight", "vision_embedder.pos_norm.weight"),
        (
            "model.embed_vision.multimodal_embedder.embedding_projection.weight",
            "embed_vision.embedding_projection.weight",
        ),
        # mlx-vlm, packed
        ("language_model.model.layers.0.self_attn.q_proj.scales", f"{LAYER}.scales"),
        ("language_model.model.embed_tokens.biases", "language_model.embed_tokens.biases"),
        ("language_model.model.norm.weight", "language_model.norm.weight"),
        ("vision_embedder.patch_dense.scales", f"{VISION}.scales"),
        ("embed_vision.embedding_projection.weight", "embed_vision.embedding_projection.weight"),
        ("embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"),
        # module paths of a quantization block
        ("language_model.model.layers.0.self_attn.q_proj", LAYER),
        ("model.embed_vision.multimodal_embedder.embedding_projection", "embed_vision.embedding_projection"),
    ],
)
def test_published_names(theirs: str, ours: str) -> None:
    assert target_name(theirs) == ours


@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.rotary_emb.inv_freq",
        "language_model.model.rotary_emb.full_attention_original_inv_freq",
        "model.language_model.embed_tokens.embed_scale",
    ],
)
def test_what_follows_from_the_configuration_is_left_out(name: str) -> None:
    assert target_name(name) is None
    assert drafter_name(name) is None


def test_unknown_names_stay_recognisable() -> None:
    assert target_name("lm_head.weight") == "lm_head.weight"
    assert target_name("model.vision_tower.layers.0.weight") == "vision_tower.layers.0.weight"
    assert target_name("model.embed_visions.patch_dense.weight") == "embed_visions.patch_dense.weight"


def test_the_assistant_keeps_the_published_names() -> None:
    for name in ("model.embed_tokens.weight", "model.layers.3.self_attn.q_norm.weight", "pre_projection.weight"):
        assert drafter_name(name) == name


def test_every_tensor_of_a_model_comes_back_from_every_spelling() -> None:
    ours = saved.arrays(saved.model(saved.raw_config()))
    for spell in (saved.published, saved.of_modules, saved.of_mlx_vlm):
        assert [target_name(spell(name)) for name in ours] == list(ours)
