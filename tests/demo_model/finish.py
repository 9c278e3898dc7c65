"""Make the shipped model of a trained one: `python -m tests.demo_model.finish POOLS --work DIRECTORY [--out ASSETS]`.

Writes both checkpoints in the published layout as bfloat16 into the work directory (the target also in float32, for
comparisons), and packs them to 4 bits with `gemma-mlx convert` into the package. Position embeddings past the largest
grid that was trained become zeros, which the wheel compresses to nothing.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from tests.kv_sharing import corrected_sharing

from . import reference, samples
from .examples import Collator
from .export import export, write_json
from .shapes import drafter_config, drafter_generation_config, target_config

ASSETS = Path(__file__).parents[2] / "gemma_mlx" / "assets"
TRAINED_SIDE = 64  # patches


def write_target(collate: Collator, work: Path, tokenizer: Path) -> None:
    """`work/float32/demo` and `work/bfloat16/demo`."""
    config = target_config(collate.specials, collate.vocab_size)
    model = reference.build_target(config)
    model.load_state_dict(torch.load(work / "state.pt", weights_only=True)["model"], strict=False)
    with torch.no_grad():
        model.model.embed_vision.pos_embedding[TRAINED_SIDE:] = 0
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        directory = work / name / "demo"
        shutil.copytree(tokenizer, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("READY"))
        shutil.copy(ASSETS / "demo" / "chat_template.jinja", directory)
        export(model, config, directory, dtype)


def write_drafter(collate: Collator, work: Path) -> None:
    """`work/bfloat16/demo-assistant`."""
    config = drafter_config(collate.specials, collate.vocab_size)
    with corrected_sharing():
        model = reference.build_drafter(config)
    model.load_state_dict(torch.load(work / "drafter.pt", weights_only=True))
    export(model, config, work / "bfloat16" / "demo-assistant", torch.bfloat16)
    made = drafter_generation_config(collate.specials)
    write_json(work / "bfloat16" / "demo-assistant" / "generation_config.json", made)


def pack(source: Path, output: Path) -> None:
    """4 bits, with the command that users have."""
    subprocess.run(
        [sys.executable, "-m", "gemma_mlx", "convert", str(source), "-o", str(output), "--force"], check=True
    )


def main() -> None:
    """Write, pack, and make the sample files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="directory of the trained target and drafter")
    parser.add_argument("--out", type=Path, default=ASSETS)
    options = parser.parse_args()
    collate = Collator(options.pools / "tokenizer")
    write_target(collate, options.work, options.pools / "tokenizer")
    write_drafter(collate, options.work)
    for name in ("demo", "demo-assistant"):
        pack(options.work / "bfloat16" / name, options.out / name)
    samples.write(options.out / "samples")


if __name__ == "__main__":
    main()
