"""The checkpoints that `pull` knows by name, each at one commit.

Data only. Sizes are of the files with weights. Source: the repositories' file listings.
"""

from dataclasses import dataclass

from gemma_mlx.models import ASSISTANT, DEFAULT


@dataclass(frozen=True)
class Entry:
    """One checkpoint. `media_from`: name of the entry whose 16-bit vision and audio tensors replace its own;
    `to_convert`: it is a source, and need not fit into memory."""

    name: str
    repo: str
    revision: str
    summary: str
    nbytes: int
    media_from: str | None = None
    to_convert: bool = False


CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            DEFAULT,
            "mlx-community/gemma-4-12B-it-4bit",
            "73bcf09092aa277861d5a191b989b666f7f32e8f",
            "the 12B in 4 bits, vision and audio in 16: for 16 GB",
            6_741_039_511,
            media_from="reference",
        ),
        Entry(
            ASSISTANT,
            "google/gemma-4-12B-it-assistant",
            "364bd03c9952e5b7da73665ee30c9eccfc408345",
            "its drafter, for faster answers",
            845_719_296,
        ),
        Entry(
            "reference",
            "google/gemma-4-12B-it",
            "707f0a3b8a3c7ad586ed01e27eafbad8a27dd0f7",
            "the 12B as published, in 16 bits: to convert",
            23_919_460_448,
            to_convert=True,
        ),
        Entry(
            "qat",
            "google/gemma-4-12B-it-qat-q4_0-unquantized",
            "b6ed86275a6a5735884e208bfed95b445a684ca2",
            "the 12B trained for Q4_0, in 16 bits: to convert with --recipe qat-q4_0",
            23_919_460_448,
            to_convert=True,
        ),
    )
}
