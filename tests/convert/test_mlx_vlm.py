"""What is converted here answers the same in mlx-vlm: the same directory, float32, greedy ids.

Text and sound only: mlx-vlm lets pictures attend in full layers and past the window, which the reference does not.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import gemma_mlx as gm
from gemma_mlx.convert.mixed import choose
from gemma_mlx.convert.recipes import find_recipe
from gemma_mlx.convert.run import Sizes, convert
from gemma_mlx.convert.source import Source
from gemma_mlx.generation.loop import DecodeOptions, decode
from gemma_mlx.inputs.prompt import Prompt
from gemma_mlx.loading import load_drafter, load_model
from gemma_mlx.model.cache import Caches
from gemma_mlx.model.drafter import target_memory
from tests.parity import cases, ours, shapes
from tests.parity.shapes import FULL, SLIDING, Shape
from tests.torchvision_import import import_torchvision

_TORCHVISION = import_torchvision()  # before transformers is imported, alive to the end

# Widths that groups of 64 divide, but for the assistant's, most of which they do not.
SHAPE = Shape("divisible", (SLIDING,) * 5 + (FULL,), hidden=64, window=16, vision_width=64)
RECIPES = ("4bit", "4bit-g32", "8bit", "mixed", "qat-q4_0")
NEW_TOKENS = 24  # past the window
ASSETS = Path(gm.__file__).parent / "assets"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `target` and `assistant` as the reference writes them, in float32."""
    from tests.parity import checkpoints, reference

    directory = tmp_path_factory.mktemp("published")
    config, assistant_config = shapes.tiny_config(SHAPE), shapes.assistant_config(SHAPE)
    checkpoints.save_published(reference.build_target(config, seed=1), config, directory / "target")
    assistant = reference.build_assistant(assistant_config, seed=2)
    checkpoints.save_published(assistant, assistant_config, directory / "assistant")
    return directory


@pytest.fixture(scope="module", params=RECIPES)
def converted(request: pytest.FixtureRequest, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target as each recipe converts it, in several shards."""
    source, output = published / "target", tmp_path_factory.mktemp(request.param) / "model"
    recipe = find_recipe(request.param)
    if request.param == "mixed":
        most = choose(Source.read(source), 1 << 40)
        recipe = choose(Source.read(source), most.nbytes - 50_000).recipe
        assert 0 < len(recipe.modules) < len(most.recipe.modules)
    convert(source, output, recipe, sizes=Sizes(shard=100_000))
    assert len(list(output.glob("*.safetensors"))) > 1
    return output


def test_greedy_ids_are_equal(converted: Path) -> None:
    from mlx_vlm.utils import load_model as load_peer

    model, peer = load_model(converted, dtype="float32"), load_peer(converted)
    for prompt in prompts():
        caches = Caches(model.config.text_config)
        hidden = ours.read(model, prompt, caches)[:, -1:]
        tokens = decode(model, hidden, caches, DecodeOptions(gm.Sampler(temperature=0), NEW_TOKENS))
        assert [token.id for token in tokens] == peer_ids(peer, prompt)


def prompts() -> Iterator[Prompt]:
    """Text shorter and longer than the window; one clip and two, within the window and beyond it."""
    rng = np.random.default_rng(7)
    for length in (1, SHAPE.window - 1, 5 * SHAPE.window):
        yield Prompt((cases.text(SHAPE, length, rng),))
    for frames in ((1,), (3, 3), (2 * SHAPE.window, 5)):
        yield cases.woven(SHAPE, [cases.sound(count, rng) for count in frames], rng)


def peer_ids(peer: Any, prompt: Prompt) -> list[int]:
    """What mlx-vlm generates greedily."""
    from mlx_vlm.generate import generate_step

    clips = [np.asarray(segment.features) for segment in prompt.segments if segment.kind == "audio"]
    features: dict[str, mx.array] = {}
    if clips:
        longest = max(len(clip) for clip in clips)
        padded = [np.pad(clip, ((0, longest - len(clip)), (0, 0))) for clip in clips]
        features["input_features"] = mx.array(np.stack(padded))
        features["input_features_mask"] = mx.array([[at < len(clip) for at in range(longest)] for clip in clips])
    steps = generate_step(
        mx.array([list(prompt.ids)]), peer, None, None, max_tokens=NEW_TOKENS, temperature=0.0, **features
    )
    return [int(token) for token, _ in steps]


@pytest.mark.parametrize("recipe", ["4bit", "8bit"])
def test_drafts_are_equal(recipe: str, published: Path, tmp_path: Path) -> None:
    from mlx_vlm.speculative.drafters import load_drafter as load_peer

    convert(published / "assistant", tmp_path / "drafter", find_recipe(recipe, drafter=True))
    assert "scales" in (tmp_path / "drafter" / "model.safetensors").read_bytes().decode("latin-1")
    drafter = load_drafter(tmp_path / "drafter", dtype="float32")
    peer, kind = load_peer(str(tmp_path / "drafter"))
    assert kind == "mtp"
    model = load_model(published / "target", dtype="float32")
    rng = np.random.default_rng(3)
    for length in (1, SHAPE.window // 2, SHAPE.window - 1):  # mlx-vlm's drafter sees two rows less of a full window
        caches = Caches(model.config.text_config)
        hidden = state = ours.read(model, Prompt((cases.text(SHAPE, length, rng),)), caches)[:, -1:]
        memory, token = target_memory(caches), 5
        kept = {name: (rows.keys, rows.values) for name, rows in memory.items()}
        peer.set_shared_kv(kept, length, position=length)
        for _ in range(4):
            embedding = model.embed_text(mx.array([[token]]))
            logits, hidden = drafter(embedding, hidden, memory)
            inputs = mx.concatenate([embedding, state], axis=-1)
            state, expected = peer(inputs, kept, mx.array([[length]]))
            np.testing.assert_allclose(logits, expected, atol=1e-4)
            token = int(logits.argmax())
            assert token == int(expected.argmax())


def test_the_demo_answers_the_same_with_its_tokenizer_template_and_processor(tmp_path: Path, plain_demo: Path) -> None:
    """Everything of the directory is in use, as a person who opens it in mlx-vlm uses it."""
    from mlx_vlm import generate
    from mlx_vlm.prompt_utils import apply_chat_template
    from mlx_vlm.utils import load as load_peer

    convert(in_float32(plain_demo, tmp_path / "demo"), tmp_path / "4bit", find_recipe("4bit"))
    chosen = gm.load(tmp_path / "4bit", gm.LoadOptions(dtype="float32"))
    peer, processor = load_peer(str(tmp_path / "4bit"))
    recording = ASSETS / "samples" / "recording.wav"
    for question, clips in (("hello", []), ("what do you hear?", [recording])):
        chat = gm.Chat(chosen)
        for clip in clips:
            chat.add(gm.Audio.open(clip))
        *_, finished = chat.reply(question, gm.Sampler(temperature=0), max_tokens=20)
        assert isinstance(finished, gm.Finished)
        text = apply_chat_template(processor, peer.config, question, num_audios=len(clips))
        answer = generate(
            peer, processor, text, audio=[str(clip) for clip in clips] or None, max_tokens=20, temperature=0.0
        )
        assert answer.text == finished.text
        assert len(answer.text) > 5


def in_float32(source: Path, directory: Path) -> Path:
    """A copy of a model whose weights are float32, since mlx-vlm computes in the type that is stored."""
    shutil.copytree(source, directory)
    file = directory / "model.safetensors"
    tensors = mx.load(str(file))
    assert isinstance(tensors, dict)
    mx.save_safetensors(str(file), {name: array.astype(mx.float32) for name, array in tensors.items()})
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"dtype": "float32"}))
    return directory


def test_tensors_are_those_of_mlx_vlms_own_conversion(tmp_path: Path, plain_demo: Path) -> None:
    """All but the projection of sound, which mlx-vlm packs and the recipe keeps."""
    from mlx_vlm.convert import convert as convert_there

    convert(plain_demo, tmp_path / "here", find_recipe("4bit"))
    convert_there(str(plain_demo), str(tmp_path / "there"), quantize=True, q_bits=4, q_group_size=64)
    here, there = (mx.load(str(tmp_path / place / "model.safetensors")) for place in ("here", "there"))
    assert isinstance(here, dict)
    assert isinstance(there, dict)
    kept = "embed_audio.embedding_projection"
    assert there.keys() - here.keys() == {f"{kept}.scales", f"{kept}.biases"}
    for name in here.keys() - {f"{kept}.weight"}:
        assert here[name].dtype == there[name].dtype
        assert mx.array_equal(here[name], there[name]), name
