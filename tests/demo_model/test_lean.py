"""The training forward is the reference's: same hidden states, and what transformers makes of the same batch."""

import numpy as np
import torch

from gemma_mlx.models import find_model

from . import examples, reference
from .conversations import Conversation, Turn
from .examples import Collator
from .lean import Lean
from .shapes import target_config


def _batch(collate: Collator) -> reference.Batch:
    noise = np.random.default_rng(5)
    picture = noise.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    picture[:150] = 255  # patches of one grey
    seen = examples.image(picture, 70)
    heard = examples.audio(noise.normal(0, 0.1, 5000).astype(np.float32))
    turns = (
        (Turn(seen.text + "what do you see?", "I see nothing.", ""), (seen,)),
        (Turn("what do you hear?" + heard.text, "A little noise, nothing else.", ""), (heard,)),
        (Turn("hello", "Hello!", ""), ()),
        (Turn(seen.text + heard.text, "No.", ""), (seen, heard)),
    )
    return collate([examples.example(Conversation((turn,)), media) for turn, media in turns])


def test_the_training_forward_is_the_reference() -> None:
    torch.manual_seed(0)
    collate = Collator(find_model("demo"))
    model = reference.build_target(target_config(collate.specials, collate.vocab_size))
    batch = _batch(collate)
    assert 0 < len(batch.places) < len(batch.positions)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.02 * value.abs().mean())
        lean = Lean(model, lambda value: value, compiled=False)
        ours, _, _ = lean(batch)
        theirs, _ = reference.run(model, batch)
        real = batch.ids > 0
        assert (ours - theirs)[real].abs().max() < 1e-4 * theirs.abs().max()
        assert torch.allclose(lean.logits(ours[real]), reference.logits(model, theirs[real]), atol=1e-3)
