"""Which drafts stand, and the target's own token behind them: the result is distributed as without drafts.

Pure functions of arrays; the first axis counts independent rounds. Know no model, no caches, no sampler. Source:
Leviathan et al., "Fast inference from transformers via speculative decoding", 2023, algorithm 1.
"""

from typing import NamedTuple

import mlx.core as mx


class Accepted(NamedTuple):
    """Of `tokens` (n, k + 1) the first `kept` (n,) are accepted drafts, the one behind them is the target's; what
    follows means nothing."""

    kept: mx.array
    tokens: mx.array


def accept_greedy(drafts: mx.array, logits: mx.array) -> Accepted:
    """Drafts (n, k) as long as they are what the target finds likeliest; logits (n, k + 1, vocab)."""
    return accept_equal(drafts, mx.argmax(logits, axis=-1))


def accept_equal(drafts: mx.array, tokens: mx.array) -> Accepted:
    """Drafts (n, k) as long as they are the tokens (n, k + 1) that the target chose by itself."""
    return Accepted(_leading(drafts == tokens[:, :-1]), tokens)


def accept_drawn(drafts: mx.array, q: mx.array, p: mx.array, uniforms: mx.array, key: mx.array) -> Accepted:
    """Rejection sampling: draft x stands with probability min(1, p(x) / q(x)).

    drafts: (n, k), drawn from q. q, p: probabilities (n, k, vocab) of the drafter and (n, k + 1, vocab) of the target,
    after everything that shapes a draw. uniforms: (n, k) in [0, 1). key: for the token behind the accepted drafts. It
    is drawn from max(p - q, 0) where a draft fell, from p where none did.
    """
    k = drafts.shape[1]
    its, ours = (mx.take_along_axis(rows[:, :k], drafts[..., None], axis=-1).squeeze(-1) for rows in (q, p))
    count = _leading(uniforms * its < ours)
    at = count[:, None, None]
    wanted = mx.take_along_axis(p, at, axis=1).squeeze(1)
    proposed = mx.take_along_axis(q, mx.minimum(at, k - 1), axis=1).squeeze(1)
    rest = mx.maximum(wanted - mx.where(count[:, None] < k, proposed, 0), 0)
    # Where p = q nothing is rejected, but a rounding error may say so.
    rest = mx.where(rest.sum(axis=-1, keepdims=True) > 0, rest, wanted)
    token = mx.random.categorical(mx.log(rest), key=key).astype(drafts.dtype)[:, None]
    tokens = mx.where(mx.arange(k + 1) == count[:, None], token, mx.concatenate([drafts, token], axis=1))
    return Accepted(count, tokens)


def _leading(accepted: mx.array) -> mx.array:
    """Bool (n, k) → how many are true before the first that is not, (n,)."""
    return mx.cumprod(accepted.astype(mx.int32), axis=1).sum(axis=1)
