"""Small pools of pictures and utterances, made by the renderers that make the large ones."""

from pathlib import Path

import pytest

from tests.demo_model import espeak, lines, pictures, pool_files, speech
from tests.demo_model.pictures import Plan

FAMILIES = {"Pillow's": (None,)}
CROPS, WHOLE, LINES, UTTERANCES = 24, 8, 24, 24


@pytest.fixture(scope="session")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of `crops`, `pictures`, `lines` and `speech`; skips where there is no espeak-ng."""
    try:
        espeak.engine()
    except OSError as fault:
        pytest.skip(str(fault))
    folder = tmp_path_factory.mktemp("pools")
    for name, plan in {"crops": Plan(CROPS, 1, crops=True), "pictures": Plan(WHOLE, 5)}.items():
        pool_files.write(folder / name, pictures.samples(plan, FAMILIES, 1))
    lines.write(folder / "lines", lines.drawn(LINES, 1, FAMILIES, 1))
    speech.write_pool(folder / "speech", UTTERANCES, 1, "train")
    return folder
