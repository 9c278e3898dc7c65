"""Embedders against the same arithmetic in float64 numpy."""

import mlx.core as mx
import numpy as np
import pytest

from gemma_mlx.model.gemma import GemmaModel
from tests import oracles, saved
from tests.oracles import Floats


def layer_norm(x: Floats, weight: Floats, bias: Floats) -> Floats:
    mean = x.mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


@pytest.fixture(scope="module")
def network() -> GemmaModel:
    return saved.model(saved.raw_config())


@pytest.fixture(scope="module")
def tensors(network: GemmaModel) -> dict[str, Floats]:
    return {name: np.array(array, np.float64) for name, array in saved.arrays(network).items()}


def image_oracle(patches: np.ndarray, positions: np.ndarray, t: dict[str, Floats]) -> Floats:
    v = {name.removeprefix("vision_embedder."): array for name, array in t.items()}
    x = layer_norm(patches / 255, v["patch_ln1.weight"], v["patch_ln1.bias"])
    x = layer_norm(x @ v["patch_dense.weight"].T + v["patch_dense.bias"], v["patch_ln2.weight"], v["patch_ln2.bias"])
    table = v["pos_embedding"]
    x = x + np.array([table[column, 0] + table[row, 1] for column, row in positions])
    x = layer_norm(x, v["pos_norm.weight"], v["pos_norm.bias"])
    return oracles.rms_norm(x, 1e-6) @ t["embed_vision.embedding_projection.weight"].T


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 8), (8, 1), (3, 4)])
def test_image(network: GemmaModel, tensors: dict[str, Floats], rows: int, columns: int) -> None:
    patches = np.random.default_rng(rows).integers(0, 256, (rows * columns, 6912), np.uint8)
    positions = np.array([(x, y) for y in range(rows) for x in range(columns)], np.int32)
    found = network.embed_image(mx.array(patches), mx.array(positions))
    assert found.shape == (1, rows * columns, 64)
    np.testing.assert_allclose(np.array(found)[0], image_oracle(patches, positions, tensors), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [0, 255])
def test_pictures_of_one_colour(network: GemmaModel, tensors: dict[str, Floats], level: int) -> None:
    """Nothing varies inside a patch: only the epsilon of the first norm keeps it finite."""
    patches, positions = np.full((2, 6912), level, np.uint8), np.array([(0, 0), (7, 7)], np.int32)
    found = np.array(network.embed_image(mx.array(patches), mx.array(positions)))
    np.testing.assert_allclose(found[0], image_oracle(patches, positions, tensors), rtol=1e-3, atol=1e-3)


def test_a_picture_with_hardly_any_contrast(network: GemmaModel, tensors: dict[str, Floats]) -> None:
    """Where the first norm's epsilon is as large as the variance, the scale of the pixels counts."""
    patches, positions = np.tile(np.array([100, 101], np.uint8), (1, 3456)), np.array([(2, 3)], np.int32)
    found = np.array(network.embed_image(mx.array(patches), mx.array(positions)))
    np.testing.assert_allclose(found[0], image_oracle(patches, positions, tensors), rtol=1e-4, atol=1e-4)


def test_columns_and_rows_have_places_of_their_own(network: GemmaModel) -> None:
    patches = mx.ones((2, 6912), mx.uint8)
    found = network.embed_image(patches, mx.array([[1, 0], [0, 1]]))
    assert not np.allclose(np.array(found[:, 0]), np.array(found[:, 1]), atol=1e-2)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_sound(network: GemmaModel, tensors: dict[str, Floats], frames: int) -> None:
    samples = np.random.default_rng(frames).uniform(-1, 1, (frames, 640)).astype(np.float32)
    found = network.embed_sound(mx.array(samples))
    assert found.shape == (1, frames, 64)
    weight = tensors["embed_audio.embedding_projection.weight"]
    expected = oracles.rms_norm(samples.astype(np.float64), 1e-6) @ weight.T
    np.testing.assert_allclose(np.array(found)[0], expected, rtol=1e-4, atol=1e-4)


def test_quiet_sound_is_raised_and_silence_stays_silent(network: GemmaModel) -> None:
    loud = mx.sin(mx.arange(640))[None]
    np.testing.assert_allclose(network.embed_sound(loud / 8), network.embed_sound(loud), rtol=1e-3, atol=1e-3)
    assert not np.array(network.embed_sound(mx.zeros((1, 640)))).any()


def test_only_text_is_scaled(network: GemmaModel, tensors: dict[str, Floats]) -> None:
    found = network.embed_text(mx.array([[0, 5, 127]]))
    expected = tensors["language_model.embed_tokens.weight"][[0, 5, 127]] * 64**0.5
    np.testing.assert_allclose(np.array(found)[0], expected, rtol=1e-6)


def test_half_precision_models_keep_their_type() -> None:
    network = saved.model(saved.raw_config())
    network.set_dtype(mx.bfloat16)
    patches, positions = mx.ones((2, 6912), mx.uint8), mx.array([[0, 0], [1, 0]])
    for rows in (network.embed_image(patches, positions), network.embed_sound(mx.ones((2, 640)))):
        assert rows.dtype == mx.bfloat16
    assert network.embed_text(mx.array([[1]])).dtype == mx.bfloat16
