"""A context in a file: loaded it is what was saved; anything else in the file is refused and changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from gemma_mlx.context.context import Context, keys_of
from gemma_mlx.errors import CheckpointError, MemoryPlanError
from gemma_mlx.inputs.prompt import Prompt, Segment
from gemma_mlx.model import cache
from tests import tiny
from tests.states import equals_cold, read_equals_cold, same_caches

MODEL = tiny.model(seed=5)
MEDIA = (
    tiny.image(2, 3),
    tiny.text([7]),
    tiny.sound(9),
    tiny.text([8]),
    tiny.sound(4, 1),
    tiny.image(1, 3, 2, "video"),
)
LONG = tiny.text([2 + i % 90 for i in range(130)])
SHORT = tiny.text([5, 6, 7])


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "STEP", 8)


def _context(*segments: Segment, marks: tuple[int, ...] = ()) -> Context:
    context = Context(MODEL, 1000, 40)
    if segments:
        context.read(Prompt(segments), marks=marks)
    return context


def _resumed(context: Context, path: Path) -> Context:
    context.save(path, "weights")
    other = _context()
    other.load(path, "weights")
    return other


@pytest.mark.parametrize(
    "segments", [(), (SHORT,), (LONG,), (SHORT, *MEDIA, SHORT), (LONG, *MEDIA), (*MEDIA, LONG)], ids=str
)
def test_loaded_is_what_was_saved(segments: tuple[Segment, ...], tmp_path: Path) -> None:
    context = _context(*segments)
    other = _resumed(context, tmp_path / "talk.safetensors")
    assert other.keys == context.keys == keys_of(segments)
    same_caches(other.caches, context.caches)
    for each in (context, other):
        read_equals_cold(each, (*segments, tiny.text([9, 9])))
    if segments:
        assert other.read(Prompt((*segments, tiny.text([9, 9])))).read == 1


def test_a_cut_medium_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    context = _context()
    context.read(Prompt((SHORT, tiny.sound(9), SHORT)), stop=8)
    other = _resumed(context, tmp_path / "talk.safetensors")
    assert read_equals_cold(other, (SHORT, tiny.sound(9), SHORT)).cached == 8


def test_marks_come_with_it(tmp_path: Path) -> None:
    segments = (LONG, tiny.text([3] * 140))
    other = _resumed(_context(*segments, marks=(60, 130, 268)), tmp_path / "talk.safetensors")
    assert sorted(other.marks.positions) == [60, 130, 268]
    assert sorted(other.marks.copies) == [60, 130]
    for end in (130, 60):
        ids = [*segments[0].ids.tolist(), *segments[1].ids.tolist()][:end]
        assert read_equals_cold(other, (tiny.text(ids), tiny.text([99]))).cached == end


def test_a_mark_where_the_caches_stand(tmp_path: Path) -> None:
    context = _context(LONG, tiny.text([3] * 140), marks=(130,))
    context.read(Prompt((LONG, SHORT)), stop=131)
    context.read(Prompt((LONG, SHORT)))
    other = _resumed(context, tmp_path / "talk.safetensors")
    equals_cold(other, (LONG, SHORT))
    assert read_equals_cold(other, (LONG, tiny.text([3] * 140))).cached == 130


def _damaged(path: Path) -> Iterator[str]:
    """One damaged file after the other, and what is wrong with it."""
    whole = path.read_bytes()
    loaded = mx.load(str(path), return_metadata=True)
    assert isinstance(loaded, tuple)
    arrays, about = loaded
    assert isinstance(arrays, dict)
    mx.eval(arrays)
    for kept in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        yield f"cut to {kept} bytes"
    for at in (len(whole) - 1, len(whole) - 5000, len(whole) // 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        yield f"a bit of byte {at}"
    path.write_bytes(b"x" * 1000)
    yield "rubbish"
    changes: dict[str, tuple[dict[str, mx.array], dict[str, str]]] = {
        "no metadata": (arrays, {}),
        "another format": (arrays, about | {"format": "gemma-mlx context 0"}),
        "another model": (arrays, about | {"fingerprint": "others"}),
        "slack no number": (arrays, about | {"slack": "many"}),
        "media no list": (arrays, about | {"media": "7"}),
        "media no JSON": (arrays, about | {"media": "["}),
        "no sums": (arrays, about | {"sums": "{}"}),
        "sums no object": (arrays, about | {"sums": "[]"}),
        "a layer lost": ({name: a for name, a in arrays.items() if name != "2.values"}, about),
        "a layer too many": (arrays | {"7.keys": arrays["6.keys"]}, about),
        "fewer tokens": (arrays | {"tokens": arrays["tokens"][:-1]}, about),
    }
    for fault, (changed, metadata) in changes.items():
        mx.save_safetensors(str(path), changed, metadata)
        yield fault


def test_damaged_files_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "talk.safetensors"
    _context(LONG, *MEDIA, marks=(20,)).save(path, "weights")
    other = _context(SHORT)
    for fault in _damaged(path):
        with pytest.raises(CheckpointError) as found:
            other.load(path, "weights")
        assert "talk.safetensors is no cache of this model" in str(found.value), fault
        assert "\n" not in str(found.value), fault
        equals_cold(other, (SHORT,))


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "talk.safetensors"
    with pytest.raises(CheckpointError, match="is no cache of this model"):
        _context().load(path, "weights")
    _context(LONG).save(path, "weights")
    for changes in ({"head_dim": 24}, {"sliding_window": 32}, {"num_global_key_value_heads": 2}):
        with pytest.raises(CheckpointError, match="is no cache of this model"):
            Context(tiny.model(**changes), 1000).load(path, "weights")
    with pytest.raises(CheckpointError, match="it holds 130 positions, the context 129"):
        Context(MODEL, 129).load(path, "weights")
    half = tiny.model(seed=5)
    half.set_dtype(mx.bfloat16)
    with pytest.raises(CheckpointError, match=r"is mlx\.core\.float32, expected mlx\.core\.bfloat16"):
        Context(half, 1000).load(path, "weights")


def test_half_precision(tmp_path: Path) -> None:
    half = tiny.model(seed=5)
    half.set_dtype(mx.bfloat16)
    context, other = Context(half, 1000, 40), Context(half, 1000, 40)
    context.read(Prompt((LONG, *MEDIA)))
    context.save(tmp_path / "talk.safetensors", "weights")
    other.load(tmp_path / "talk.safetensors", "weights")
    for one, its in zip(context.caches.layers, other.caches.layers, strict=True):
        for rows, others in zip(one.view(), its.view(), strict=True):
            assert mx.array_equal(rows, others)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.safetensors"
    _context(SHORT).save(path, "weights")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("gemma_mlx.context.state.os.replace", _no_room)
        with pytest.raises(CheckpointError, match="cannot be written"):
            _context(LONG).save(path, "weights")
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(CheckpointError, match="cannot be written"):
        _context(LONG).save(tmp_path / "nowhere" / "talk.safetensors", "weights")


def _no_room(*_: object) -> None:
    raise OSError("no space left on device")


def test_what_was_loaded_does_not_need_the_file(tmp_path: Path) -> None:
    path = tmp_path / "talk.safetensors"
    other = _resumed(_context(LONG, marks=(20,)), path)
    path.write_bytes(b"x" * path.stat().st_size)
    equals_cold(other, (LONG,))
    assert read_equals_cold(other, (tiny.text(LONG.ids[:20].tolist()), tiny.text([99]))).cached == 20


def test_saving_asks_for_the_memory_of_a_copy(tmp_path: Path) -> None:
    context = _context(LONG)
    asked: list[int] = []

    def admit(positions: int, piece: int, held: int) -> None:
        asked.append(context.nbytes - held)
        raise MemoryPlanError("full")

    context.admit = admit
    with pytest.raises(MemoryPlanError):
        context.save(tmp_path / "talk.safetensors", "weights")
    assert asked == [context.caches.nbytes]
    assert [*tmp_path.iterdir()] == []


def test_what_does_not_fit_is_not_loaded(tmp_path: Path) -> None:
    _context(LONG).save(tmp_path / "talk.safetensors", "weights")
    other = _context(SHORT)

    def admit(positions: int, piece: int, held: int) -> None:
        raise MemoryPlanError(f"{positions} are too many")

    other.admit = admit
    with pytest.raises(MemoryPlanError, match="131 are too many"):
        other.load(tmp_path / "talk.safetensors", "weights")
    equals_cold(other, (SHORT,))
