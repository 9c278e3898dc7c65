"""Models of random weights, as a person makes them to measure speed."""

import subprocess
import sys
from pathlib import Path

from gemma_mlx.loading import load_model


def test_a_pair_is_written_by_command(tmp_path: Path) -> None:
    words = ["-m", "gemma_mlx.benchmarks.midsize", str(tmp_path), "--size", "small"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    parameters = int(done.stdout.split()[0].replace(",", ""))
    target = load_model(tmp_path / "target")
    assert parameters > target.config.text_config.vocab_size * target.config.text_config.hidden_size
    assert (tmp_path / "assistant" / "config.json").exists()
