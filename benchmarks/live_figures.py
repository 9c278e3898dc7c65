"""What the benchmark of live listening measures, and what that comes to. Knows numbers only: no sound and no model."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gemma_mlx.benchmarks.throttle import Rate

Way = Literal["live", "recorded first", "mlx-vlm"]
LATENCIES = ("end_to_first_s", "beyond_silence_s", "decision_to_first_s")
_MOST_APART = 0.3  # of the longest utterance from the shortest
_MOST_OF_RECORDED, _MOST_OF_PEER = 0.1, 0.2
_MOST_UNREAD = 25  # audio tokens
_READY_S, _MOSTLY_READY_S = 0.05, 0.2  # p50 and p95


@dataclass(frozen=True)
class Case:
    """How something is said and listened to. `rate` None: as fast as this machine is; `early`: whether the turn is
    closed on speculation in a pause."""

    way: Way
    seconds: float  # of speech, as asked for
    rate: Rate | None
    early: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        told: dict[str, Any] = {"way": self.way, "utterance_s": self.seconds}
        told |= {"prefill_tok_s": self.rate.prefill, "decode_tok_s": self.rate.decode} if self.rate else {}
        return told | ({"early_close": self.early} if self.way == "live" else {})


@dataclass(frozen=True)
class Measured:
    """One answer. `first_s`: to its first text, from the end-of-turn decision, or from asking where nobody listens."""

    case: Case
    round: int
    speech_s: float
    first_s: float
    prompt_tokens: int
    text: str
    decision_s: float = 0.0  # from the last sample of speech to the decision
    waited_s: float = 0.0  # the part of that which the listener is told to wait
    unread: int = 0  # audio tokens of the turn that were still to be read at the decision

    @property
    def fields(self) -> dict[str, Any]:
        """As a line of results: `end_to_first_s` is from the last sample of speech to the first text,
        `beyond_silence_s` without the silence that is waited for, `decision_to_first_s` without all of it."""
        told = {"round": self.round, **self.case.fields, "speech_s": round(self.speech_s, 3)}
        if self.case.way == "live":
            told |= {name: round(self.latency(name), 4) for name in ("end_to_decision_s", *LATENCIES)}
            told |= {"unread_audio_tokens": self.unread}
        else:
            told |= {"first_s": round(self.first_s, 4)}
        return told | {"prompt_tokens": self.prompt_tokens, "text": self.text}

    def latency(self, name: str) -> float:
        return {
            "end_to_decision_s": self.decision_s,
            "end_to_first_s": self.decision_s + self.first_s,
            "beyond_silence_s": self.decision_s + self.first_s - self.waited_s,
            "decision_to_first_s": self.first_s,
        }[name]


def summary(found: Sequence[Measured]) -> dict[str, Any]:
    """Spreads of each case, ratios of medians, and which bars they reach."""
    cases = list(dict.fromkeys(each.case for each in found))
    groups = {case: [each for each in found if each.case == case] for case in cases}
    return {
        "cases": [case.fields | {"answers": len(group)} | _spreads(group) for case, group in groups.items()],
        "longest / shortest": [_by_length(case, groups) for case in cases if _is_longest(case, cases)],
        "live / others": _beside_others(groups),
        "bars": _bars(groups),
    }


def centile(values: Sequence[float], percent: int) -> float:
    """The least value that so many percent do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    told = {"p50": statistics.median(values), "p95": centile(values, 95), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in told.items()}


def _spreads(group: Sequence[Measured]) -> dict[str, dict[str, float]]:
    if group[0].case.way != "live":
        return {"first_s": _spread([each.first_s for each in group])}
    told = {name: _spread([each.latency(name) for each in group]) for name in ("end_to_decision_s", *LATENCIES)}
    return told | {"unread_audio_tokens": _spread([each.unread for each in group])}


def _median(group: Sequence[Measured], name: str) -> float:
    return statistics.median(each.latency(name) for each in group)


def _is_longest(case: Case, cases: Sequence[Case]) -> bool:
    alike = [each.seconds for each in cases if (each.way, each.rate, each.early) == (case.way, case.rate, case.early)]
    return case.way == "live" and case.seconds == max(alike)


def _by_length(longest: Case, groups: dict[Case, list[Measured]]) -> dict[str, Any]:
    alike = [each for each in groups if (each.way, each.rate, each.early) == ("live", longest.rate, longest.early)]
    shortest = min(alike, key=lambda case: case.seconds)
    ratios = {name: _median(groups[longest], name) / _median(groups[shortest], name) for name in LATENCIES}
    return longest.fields | {name: round(ratio, 3) for name, ratio in ratios.items()}


def _beside_others(groups: dict[Case, list[Measured]]) -> list[dict[str, Any]]:
    """Medians of live answers over those of the other ways, for the same length and, where there is one, rate."""
    return [
        live.fields
        | {"than": other.way}
        | {
            name: round(_median(groups[live], name) / _median(groups[other], "decision_to_first_s"), 4)
            for name in LATENCIES
        }
        for live in groups
        for other in groups
        if live.way == "live" and other.way != "live" and live.seconds == other.seconds
        if other.rate in (None, live.rate)
    ]


def _bars(groups: dict[Case, list[Measured]]) -> dict[str, bool]:
    """Of answers that are begun in the pause; silence that is not counted is all until the decision."""
    lengths = [_by_length(case, groups) for case in groups if case.early and _is_longest(case, list(groups))]
    others = [each for each in _beside_others(groups) if each["early_close"]]
    told = {
        f"{each['prefill_tok_s']:g} tok/s: {name} of the longest within 30 % of the shortest": abs(each[name] - 1)
        <= _MOST_APART
        for each in lengths
        for name in ("end_to_first_s", "decision_to_first_s")
    }
    for each in others:
        most = _MOST_OF_PEER if each["than"] == "mlx-vlm" else _MOST_OF_RECORDED
        told[f"{each['prefill_tok_s']:g} tok/s: <= {most} of {each['than']}"] = each["decision_to_first_s"] <= most
    for rate in dict.fromkeys(case.rate for case in groups if case.early and case.rate):
        here = [each for case, group in groups.items() if case.early and case.rate == rate for each in group]
        firsts = [each.first_s for each in here]
        name = f"{rate.prefill:g} tok/s"
        told[f"{name}: unread audio tokens <= {_MOST_UNREAD}"] = max(each.unread for each in here) <= _MOST_UNREAD
        told[f"{name}: first text {_READY_S} s after the decision, p50"] = statistics.median(firsts) <= _READY_S
        told[f"{name}: first text {_MOSTLY_READY_S} s after the decision, p95"] = centile(firsts, 95) <= _MOSTLY_READY_S
    return told
