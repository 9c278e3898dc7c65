"""Pictures to read: labels lie where the glyphs do, splits are disjoint, and a pool holds what was painted.

Lettered in the font that Pillow carries; no other is needed.
"""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gemma_mlx.inputs import image
from tests.demo_model import fonts, lettering, pictures, pool_files, scenes, strings
from tests.demo_model.lettering import Lettering
from tests.demo_model.pictures import Painting, Plan

FAMILIES = {"Pillow's": (None,)}
EPS = 1e-5  # of the embedder's layer norms


def _white(rng: random.Random, size: scenes.Size, box: scenes.Box) -> Image.Image:
    return Image.new("RGB", size, "white")


@pytest.fixture
def on_white(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes that are white, so that all else is ink."""
    monkeypatch.setattr(pictures, "SCENES", {_white: 1.0})


def _ink(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what is at least half as far from white as the ink is."""
    depth = 255.0 - pixels.min(axis=2)
    y, x = np.nonzero(depth > depth.max() / 2)
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def _labelled(sample: pool_files.Sample) -> list[tuple[str, int, tuple[int, int]]]:
    """Each labelled character with its index in the text and its patch, in reading order of the patches."""
    found = []
    for glyphs, first, place in zip(sample.glyphs, sample.first, sample.places, strict=True):
        for index, glyph in enumerate(glyphs[glyphs > 0]):
            found.append((strings.CHARACTERS[glyph - 1], int(first) + index, tuple(place.tolist())))
    return found


def test_a_text_is_on_one_side_by_its_checksum_alone() -> None:
    rng = random.Random(0)
    drawn = {split: {strings.draw(rng, split) for _ in range(400)} for split in ("train", "held_out")}
    assert not drawn["train"] & drawn["held_out"]
    assert all(strings.held_out(text) for text in drawn["held_out"])
    assert [text for text in ("E401", "E404", "A7", "500", "6", "I") if strings.held_out(text)] == ["E401", "6"]
    share = np.mean([strings.held_out(str(number)) for number in range(10_000)])
    assert 0.08 < share < 0.12
    lengths = {len(text) for text in drawn["train"]}
    assert lengths == set(range(1, 9))
    assert max(len(strings.draw(rng, "held_out", 6)) for _ in range(200)) == 6
    assert set("".join(drawn["train"])) == set(strings.CHARACTERS)


def test_fonts_are_on_one_side_with_all_of_their_weights() -> None:
    files = {split: [file for _, names in table.values() for file in names] for split, table in fonts.SPLITS.items()}
    assert not set(fonts.TRAIN) & set(fonts.HELD_OUT)
    assert not set(files["train"]) & set(files["held_out"])
    assert len(files["train"]) == len(set(files["train"]))
    assert all(len(table) >= fonts.NEEDED[split] for split, table in fonts.SPLITS.items())


def test_fonts_that_are_here_are_found_and_packages_named_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
    with pytest.raises(FileNotFoundError, match=r"0 of the held_out font families .* fonts-firacode "):
        fonts.available("held_out")
    (tmp_path / "deep").mkdir()
    for _, names in fonts.HELD_OUT.values():
        (tmp_path / "deep" / names[-1]).touch()
    assert fonts.available("held_out") == {
        family: (str(tmp_path / "deep" / names[-1]),) for family, (_, names) in fonts.HELD_OUT.items()
    }


@pytest.mark.parametrize("angle", [0.0, 2.0, -2.0])
def test_centres_of_a_line_are_the_middles_of_its_glyphs(angle: float) -> None:
    line = lettering.draw("H0X", Lettering(None, 40, spacing=0.3, angle=angle))
    ink = np.asarray(line.mask) > 128
    columns = np.flatnonzero(ink.any(axis=0))
    glyphs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    assert len(glyphs) == 3
    for (x, y), glyph in zip(line.centres, glyphs, strict=True):
        rows = np.flatnonzero(ink[:, glyph].any(axis=1))
        assert abs(x - (glyph[0] + glyph[-1] + 1) / 2) < 1.5
        assert abs(y - (rows[0] + rows[-1] + 1) / 2) < 1.5
    if not angle:
        assert ink.any(axis=1).sum() == pytest.approx(40, abs=2)


@pytest.mark.usefixtures("on_white")
def test_a_character_is_labelled_in_the_patch_of_its_middle() -> None:
    for seed in range(16):
        budget = 280 if seed % 8 == 7 else 70
        painting = pictures.whole(random.Random(seed), "H", None, budget)
        sample = pool_files.sample(painting, budget)
        height, width, _ = painting.pixels.shape
        assert sample.grid == (width // 48, height // 48)
        assert sample.grid[0] * sample.grid[1] <= budget
        left, top, right, bottom = _ink(painting.pixels)
        assert 14 <= bottom - top <= 50
        middle = (left + right) / 2, (top + bottom) / 2
        assert np.abs(painting.centres[0] - middle).max() < 2
        (label,) = _labelled(sample)
        assert label[:2] == ("H", 0)
        patch = np.array(label[2]) * 48
        assert (np.array(middle) > patch - 2).all()
        assert (np.array(middle) < patch + 50).all()


@pytest.mark.usefixtures("on_white")
def test_a_crop_is_resized_with_its_centres_and_never_too_large() -> None:
    for seed in range(40):
        painting = pictures.crop(random.Random(seed), "H", None)
        height, width, _ = painting.pixels.shape
        assert width in range(96, 481, 48)
        assert height in range(48, 145, 48)
        left, top, right, bottom = _ink(painting.pixels)
        assert 14 <= bottom - top <= 50
        assert np.abs(painting.centres[0] - ((left + right) / 2, (top + bottom) / 2)).max() < 2


def test_the_first_third_of_the_crops_is_easy() -> None:
    aligned = []
    for sample in pictures.samples(Plan(9, 3, crops=True), FAMILIES, 1):
        columns = [(index, place[0]) for _, index, place in _labelled(sample)]
        aligned.append(columns == [(index, index) for index in range(len(sample.text))])
    assert aligned[:3] == [True] * 3
    assert not all(aligned[3:])


def test_easy_crops_have_a_character_in_each_patch_from_the_left() -> None:
    for seed in range(30):
        text = strings.draw(random.Random(seed), "train")
        labels = _labelled(pool_files.sample(pictures.easy(random.Random(seed), text, None), 0))
        row = labels[0][2][1]
        assert labels == [(character, index, (index, row)) for index, character in enumerate(text)]


def test_three_characters_of_a_patch_are_labelled_in_order_and_more_left_out() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 144, 3), np.uint8)
    centres = np.array([(50, 10), (60, 20), (70, 30), (95.9, 40), (96, 47), (140, 48)], float)
    sample = pool_files.sample(Painting(pixels, centres, "ABCD07"), 0)
    assert sample.places.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    assert sample.glyphs.tolist() == [[0, 0, 0], [11, 12, 13], [1, 0, 0], [0, 0, 0], [0, 0, 0], [8, 0, 0]]
    assert sample.first.tolist() == [0, 0, 4, 0, 0, 5]


def test_patches_left_out_are_nothing_after_layer_norm_and_all_else_is_there() -> None:
    left_out = 0
    for seed in range(12):
        painting = pictures.whole(random.Random(seed), "E5", None, 70)
        rows, places = image.patches(painting.pixels)
        sample = pool_files.sample(painting, 70)
        kept = (places[:, None] == sample.places[None]).all(axis=2).any(axis=1)
        assert (sample.patches == rows[kept]).all()
        gone = rows[~kept] / 255
        left_out += len(gone)
        normed = (gone - gone.mean(1, keepdims=True)) / np.sqrt(gone.var(1, keepdims=True) + EPS)
        assert np.sqrt((normed**2).mean(1)).max(initial=0) < 0.1
    assert left_out > 50


def test_one_colour_is_not_blank_where_it_is_not_grey() -> None:
    patches = np.full((4, 6912), 200, np.uint8)
    patches[1, ::3] = 201
    patches[2, 5] = 201
    patches[3, 5] = 255
    assert pool_files.blank(patches).tolist() == [True, False, True, False]


def test_scenes_have_no_edge_where_the_text_goes() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        size = rng.randint(150, 900), rng.randint(150, 700)
        left, top = rng.randint(0, size[0] - 101), rng.randint(0, size[1] - 41)
        box = left, top, left + 100, top + 40
        for scene in (scenes.window, scenes.plain):
            inside = np.asarray(scene(rng, size, box).crop(box))
            assert (inside == inside[0, 0]).all(), (seed, scene)


def test_ink_keeps_its_distance_from_what_is_behind_it() -> None:
    box = (10, 10, 190, 50)
    for seed in range(100):
        rng = random.Random(seed)
        canvas = scenes.busy(rng, (200, 60), box)
        colour = Image.new("RGB", (1, 1), pictures._ink(rng, canvas, box)).convert("L").getpixel((0, 0))
        behind = np.asarray(canvas.crop(box).convert("L"), float)
        assert np.mean(np.abs(behind - colour) >= 58) > 0.95


def test_a_picture_depends_on_seed_and_index_alone() -> None:
    for crops in (False, True):
        plan = Plan(9, 3, crops=crops)
        one, again = (list(pictures.samples(plan, FAMILIES, processes)) for processes in (1, 2))
        assert len(one) == 9
        for first, second in zip(one, again, strict=True):
            assert (first.text, first.grid) == (second.text, second.grid)
            assert (first.patches == second.patches).all()
        assert len({sample.text for sample in one}) > 5
        other = pictures.render(Plan(9, 4, crops=crops), FAMILIES, 0)
        assert other.text != one[0].text


def test_a_pool_holds_what_was_painted(tmp_path: Path) -> None:
    plan = Plan(12, 1, "held_out", crops=True)
    painted = list(pictures.samples(plan, FAMILIES, 1))
    pool_files.write(tmp_path, iter(painted))
    assert (tmp_path / "READY").exists()
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in tmp_path.glob("*.npy")}
    assert {name: (array.dtype.str, array.shape[1:]) for name, array in arrays.items()} == {
        "patches": ("|u1", (6912,)),
        "places": ("|u1", (2,)),
        "glyphs": ("|u1", (3,)),
        "first": ("|u1", ()),
        "starts": ("<i8", ()),
        "grids": ("|u1", (2,)),
        "budgets": ("<i2", ()),
        "texts": ("|S8", ()),
    }
    starts = arrays["starts"]
    assert starts.shape == (13,)
    assert starts[-1] == len(arrays["patches"])
    for index, sample in enumerate(painted):
        for name in ("patches", "places", "glyphs", "first"):
            assert (arrays[name][starts[index] : starts[index + 1]] == getattr(sample, name)).all()
        assert tuple(arrays["grids"][index]) == sample.grid
        assert arrays["texts"][index].decode() == sample.text
        assert strings.held_out(sample.text) or not sample.text


@pytest.mark.usefixtures("on_white")
def test_without_text_nothing_is_written_or_labelled() -> None:
    for seed in range(8):
        for painting in (
            pictures.crop(random.Random(seed), "", None),
            pictures.whole(random.Random(seed), "", None, 70),
        ):
            assert (painting.pixels == 255).all()
            assert not pool_files.sample(painting, 0).glyphs.any()
