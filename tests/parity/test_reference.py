"""The oracle against slower ones, so that agreement with it means something."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText
from transformers.models.gemma4_unified.modeling_gemma4_unified import apply_rotary_pos_emb, eager_attention_forward

from gemma_mlx.inputs.prompt import Prompt
from tests import oracles
from tests.parity.cases import KINDS, picture, random_case, random_prompt, text, woven
from tests.parity.checkpoints import published_tensors, save_again, save_published
from tests.parity.conftest import Pair
from tests.parity.reference import TYPES, intended_masks, reference_greedy, reference_logits
from tests.parity.shapes import FULL, SLIDING


def types_of(prompt: Prompt) -> list[int]:
    return [TYPES[segment.kind] for segment in prompt.segments for _ in segment.ids]


def pictures_of(prompt: Prompt) -> list[tuple[int, int]]:
    starts = np.cumsum([0] + [len(segment.ids) for segment in prompt.segments]).tolist()
    ranges = zip(starts[:-1], starts[1:], prompt.segments, strict=True)
    return [(start, end) for start, end, segment in ranges if segment.kind in ("image", "video")]


@pytest.mark.parametrize("seed", range(len(KINDS)), ids=KINDS)
def test_masks_are_the_obvious_ones(pair: Pair, seed: int) -> None:
    prompt = random_case(pair.shape, seed).prompt
    found = intended_masks(pair.target.config, types_of(prompt))
    blocks = pictures_of(prompt)
    sliding = oracles.mask(prompt.n_tokens, lambda q, k: oracles.visible(q, k, blocks, pair.shape.window))
    np.testing.assert_array_equal(found[SLIDING][0, 0].numpy() == 0, sliding)
    np.testing.assert_array_equal(found[FULL][0, 0].numpy() == 0, oracles.mask(prompt.n_tokens, oracles.causal))


def test_masks_matter(pair: Pair) -> None:
    """A plain forward of the reference lets pictures attend forward on full layers too, and gives other logits."""
    rng = np.random.default_rng(3)
    prompt = woven(pair.shape, [picture("image", (2, 3), rng)], rng)
    expected = reference_logits(pair.target, prompt).logits
    image = next(segment for segment in prompt.segments if segment.kind == "image")
    with torch.no_grad():
        plain = pair.target(
            input_ids=torch.tensor([prompt.ids]),
            pixel_values=torch.from_numpy(image.features)[None].float() / 255,
            image_position_ids=torch.from_numpy(image.positions)[None].long(),
            mm_token_type_ids=torch.tensor([types_of(prompt)]),
        )
    assert np.abs(plain.logits[0].numpy() - expected).max() > 0.1


def test_rotary_embeddings_are_the_obvious_ones(pair: Pair) -> None:
    rotary = pair.target.model.language_model.rotary_emb
    ropes = pair.config["text_config"]["rope_parameters"]
    rng = np.random.default_rng(0)
    for kind, width in ((SLIDING, 16), (FULL, 32)):
        for position in (0, 1, 13, 100):
            x = rng.standard_normal(width)
            cos, sin = rotary(torch.zeros(1), torch.tensor([[position]]), kind)
            found = apply_rotary_pos_emb(torch.tensor(x[None, None, None], dtype=torch.float32), cos, sin)
            theta = ropes[kind]["rope_theta"]
            expected = (
                oracles.rope_default(x, position, theta)
                if kind == SLIDING
                else oracles.rope_proportional(x, position, theta, ropes[kind]["partial_rotary_factor"])
            )
            np.testing.assert_allclose(found[0, 0, 0].numpy(), expected, atol=1e-5)


def test_attention_is_the_obvious_one(pair: Pair) -> None:
    layer = pair.target.model.language_model.layers[-1].self_attn
    rng = np.random.default_rng(1)
    heads = pair.shape.global_kv_heads if pair.shape.k_eq_v else pair.shape.kv_heads
    queries = rng.standard_normal((4, 9, 32))
    keys, values = rng.standard_normal((2, heads, 9, 32))
    seen = oracles.mask(9, lambda q, k: oracles.visible(q, k, [(2, 6)], 4))
    tensors = [torch.tensor(x[None], dtype=torch.float32) for x in (queries, keys, values)]
    additive = torch.where(torch.tensor(seen), 0.0, torch.finfo(torch.float32).min)[None, None]
    found, _ = eager_attention_forward(layer, *tensors, additive, scaling=layer.scaling)
    expected = oracles.attention(queries, keys, values, seen)
    np.testing.assert_allclose(found[0].transpose(0, 1).numpy(), expected, atol=1e-5)


def test_what_follows_changes_nothing_before(pair: Pair) -> None:
    """So one pass over a continuation tells what a pass for each of its tokens would tell."""
    rng = np.random.default_rng(4)
    prompt = random_prompt(pair.shape, "mixture", rng)
    following = text(pair.shape, 5, rng).ids.tolist()
    whole = reference_logits(pair.target, prompt, following).logits
    for count in range(5):
        part = reference_logits(pair.target, prompt, following[:count]).logits
        np.testing.assert_allclose(part, whole[: len(part)], atol=1e-4)


def test_greedy_is_what_the_reference_generates(pair: Pair) -> None:
    prompt = Prompt((text(pair.shape, 5, np.random.default_rng(2)),))
    count = 2 * pair.shape.window
    ids = torch.tensor([prompt.ids])
    generated = pair.target.generate(ids, max_new_tokens=count, do_sample=False, eos_token_id=-1, pad_token_id=0)
    assert reference_greedy(pair.target, prompt, count) == generated[0, len(prompt.ids) :].tolist()


@pytest.mark.parametrize("shards", [1, 3])
def test_reference_reads_the_published_layout(pair: Pair, directory: Path, shards: int) -> None:
    save_published(pair.target, pair.config, directory, shards)
    again = AutoModelForImageTextToText.from_pretrained(directory).state_dict()
    expected = pair.target.state_dict()
    assert again.keys() == expected.keys()
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_published_names(pair: Pair) -> None:
    names = published_tensors(pair.target).keys()
    assert {"model.vision_embedder.patch_dense.bias", "model.embed_vision.embedding_projection.weight"} <= names
    assert {"model.embed_audio.embedding_projection.weight", "model.language_model.layers.0.layer_scalar"} <= names
    assert "lm_head.weight" not in names
    assert {"pre_projection.weight", "model.layers.3.self_attn.q_norm.weight"} <= published_tensors(
        pair.assistant
    ).keys()


def test_saved_again_has_the_other_spelling(pair: Pair, directory: Path) -> None:
    config = (save_again(pair.target, directory) / "config.json").read_text()
    assert "per_layer_config" in config
    assert "global_head_dim" not in config
