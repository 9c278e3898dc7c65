"""Recordings of the demo model, made the slow and obvious way: the whole text is read again for every token."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx

from gemma_mlx.generation.sampling import suppression
from gemma_mlx.inputs.message import Message
from gemma_mlx.loading import Gemma
from gemma_mlx.model.cache import Caches

QUESTIONS = ("hello", "what can you do?", "count to three")
LENGTH = 6


def likeliest(gemma: Gemma, ids: list[int]) -> int:
    """The token that greedy decoding takes after `ids`."""
    hidden = gemma.model(gemma.model.embed_text(mx.array([ids])), Caches(gemma.config.text_config))
    logits = gemma.model.logits(hidden[:, -1:])
    bias = suppression(gemma.sampler.suppress_tokens, gemma.config.text_config.vocab_size)
    token = mx.argmax(logits if bias is None else logits + bias).item()
    assert isinstance(token, int)
    return token


def choices(gemma: Gemma, prompt: list[int], output: list[int]) -> list[int]:
    """What greedy decoding takes at each place of an output that is given."""
    return [likeliest(gemma, prompt + output[:place]) for place in range(len(output))]


def case(gemma: Gemma, question: str) -> dict[str, Any]:
    """One entry of a file of recordings."""
    prompt = gemma.prompts.build([Message.of("user", question)]).ids
    output: list[int] = []
    while len(output) < LENGTH:
        output.append(likeliest(gemma, prompt + output))
    return {
        "id": question.replace(" ", "_"),
        "enable_thinking": False,
        "messages": [{"role": "user", "content": question}],
        "prompt_token_ids": prompt,
        "output_token_ids": output,
    }


def write(path: Path, gemma: Gemma, cases: list[dict[str, Any]]) -> Path:
    """A file of recordings for that model's vocabulary."""
    raw = {"checkpoint": "a slow demo", "vocab_size": gemma.config.text_config.vocab_size, "cases": cases}
    path.write_text(json.dumps(raw))
    return path
