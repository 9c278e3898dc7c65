"""The tools of which the demo model has an idea: how they are declared, asked for, answered and what is then said.

Every wording, name and description is one of a few, so that the model learns to look at what was declared. Wordings
are in one split only. Knows no prompt format. Source: written for this model.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import calling_words as words
from .answers import Split

Arguments = Mapping[str, str | int]
Result = str | Mapping[str, Any]
Report = tuple[Result, str]  # what a tool returned, and the answer that tells it


@dataclass(frozen=True)
class Kind:
    """A kind of tool. `slots` are its parameters, each with the names under which it is declared; in wordings and
    arguments they go by the first of them. A wording without a question mark is a request, to which one may say
    please; `open_ended` are slots of any length, after which nothing may be added;
    `follow_ups` are wordings that make sense after a turn with the same tool."""

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    slots: Mapping[str, tuple[str, ...]]
    wordings: Mapping[Split, tuple[str, ...]]
    thought: str
    arguments: Callable[[random.Random, Split], Arguments]
    report: Callable[[random.Random, Split, Arguments], Report]
    open_ended: tuple[str, ...] = ()
    follow_ups: Mapping[Split, tuple[str, ...]] = field(default_factory=dict)


def _listed(texts: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts.split("|"))


def _wordings(train: str, held_out: str) -> Mapping[Split, tuple[str, ...]]:
    return {"train": _listed(train), "held_out": _listed(held_out)}


def _done(rng: random.Random) -> Result:
    """What a function returns that only does something."""
    return rng.choice(("ok", "done", "OK", {"value": None}, {"value": True}, {"ok": True}, {"status": "ok"}))


def _shown(rng: random.Random, keys: tuple[str, ...], value: str | int) -> Result:
    """One value as functions return it: as it is, as text, under a key of its own."""
    as_it_is: Result = value if isinstance(value, str) else {"value": value}
    return rng.choice((as_it_is, str(value), {rng.choice(keys): value}))


def _weather(rng: random.Random, split: Split, given: Arguments) -> Report:
    degrees: float = words.number(rng, split, -9, 45)
    if rng.random() < 0.1:
        degrees += rng.choice((0.25, 0.5, 0.75))
    sky, place = words.sky(rng, split), given["city"]
    number_key = rng.choice(("degrees", "temperature", "temp", "celsius"))
    text_key = rng.choice(("sky", "weather", "condition", "forecast"))
    kind = rng.random()
    if kind < 0.5:
        extra = {"city": place} if rng.random() < 0.2 else {}
        return {number_key: degrees, text_key: sky, **extra}, f"It is {degrees} degrees and {sky} in {place}."
    if kind < 0.62:
        return {number_key: degrees}, f"It is {degrees} degrees in {place}."
    if kind < 0.75:
        return rng.choice((sky, {text_key: sky})), f"It is {sky} in {place}."
    said = rng.choice((f"{degrees} degrees and {sky}", f"{sky} and {degrees} degrees", f"{degrees} degrees"))
    return said, f"It is {said} in {place}."


def _time(rng: random.Random, split: Split, given: Arguments) -> Report:
    hour, minute = words.number(rng, split, 0, 23), words.number(rng, split, 0, 59)
    shown = f"{hour}:{minute:02}"
    return _shown(rng, ("time", "clock", "now"), shown), f"It is {shown} in {given['city']}."


def _timer(rng: random.Random, split: Split, given: Arguments) -> Report:
    return _done(rng), f"The timer is set to {given['minutes']} minutes."


def _search(rng: random.Random, split: Split, given: Arguments) -> Report:
    found = [words.file_name(rng, split) for _ in range(rng.choice((0, 1, 1, 1, 2, 2)))]
    answer = f"I found {' and '.join(found) or 'nothing'}."
    if len(found) == 1 and rng.random() < 0.5:
        return found[0], answer
    return {rng.choice(("value", "value", "files", "found")): found}, answer


def _sent(rng: random.Random, split: Split, given: Arguments) -> Report:
    return rng.choice(("sent", _done(rng))), f"I sent the message to {given['to']}."


def _sum(rng: random.Random, split: Split, given: Arguments) -> Report:
    total = int(given["a"]) + int(given["b"])
    return _shown(rng, ("sum", "result", "total"), total), f"The sum is {total}."


def _volume(rng: random.Random, split: Split, given: Arguments) -> Report:
    return _done(rng), f"The volume is {given['level']}."


def _opened(rng: random.Random, split: Split, given: Arguments) -> Report:
    return _done(rng), f"{given['name']} is open."


_ELSEWHERE = _wordings(
    "and in {city}?|what about {city}?|and {city}?|and what about {city}?",
    "how about {city}?|and how about {city}?|what about in {city}?",
)
KINDS = (
    Kind(
        _listed("get_weather|weather|find_weather"),
        _listed("Get the weather.|Get weather|Weather in a city|The weather now.|Look up the weather."),
        {"city": ("city", "place")},
        _wordings(
            """what is the weather in {city}?|how is the weather in {city}?|weather in {city}?|is it sunny in {city}?
            |what is the weather like in {city}?|is it raining in {city}?|tell me the weather in {city}
            |get the weather in {city}|look up the weather in {city}|{city} weather?|how warm is it in {city}?
            |what is the weather today in {city}?|is it cold in {city}?|check the weather in {city}
            |how many degrees is it in {city}?|will it rain in {city}?""",
            """how is the weather today in {city}?|give me the weather in {city}|weather for {city}?
            |is it warm in {city}?
            |find the weather in {city}|what is the weather now in {city}?""",
        ),
        "The user wants the weather.",
        lambda rng, split: {"city": words.city(rng, split)},
        _weather,
        follow_ups=_ELSEWHERE,
    ),
    Kind(
        _listed("get_time|clock|find_time"),
        _listed("Get the time.|Get time|Time in a city|The time now.|Look up the time."),
        {"city": ("city", "place")},
        _wordings(
            """what time is it in {city}?|what is the time in {city}?|time in {city}?|how late is it in {city}?
            |tell me the time in {city}|get the time in {city}|{city} time?|which time is it in {city}?
            |what is the local time in {city}?|do you know the time in {city}?|check the time in {city}
            |what time is it now in {city}?|what does the clock say in {city}?""",
            """what is the time now in {city}?|give me the time in {city}|time for {city}?|look up the time in {city}
            |how late is it now in {city}?""",
        ),
        "The user wants the time.",
        lambda rng, split: {"city": words.city(rng, split)},
        _time,
        follow_ups=_ELSEWHERE,
    ),
    Kind(
        _listed("set_timer|timer|start_timer"),
        _listed("Set a timer.|Set timer|Start a timer|A timer in minutes.|Count down."),
        {"minutes": ("minutes", "duration")},
        _wordings(
            """set a timer for {minutes} minutes|set a timer to {minutes} minutes|timer for {minutes} minutes
            |{minutes} minute timer|start a {minutes} minute timer|wake me in {minutes} minutes
            |remind me in {minutes} minutes|count down {minutes} minutes|start a timer for {minutes} minutes
            |set the timer to {minutes} minutes|make a timer of {minutes} minutes
            |tell me when {minutes} minutes are over|I need a timer for {minutes} minutes|timer {minutes} minutes
            |now a timer of {minutes} minutes""",
            """set a {minutes} minute timer|give me a timer for {minutes} minutes|start the timer for {minutes} minutes
            |I want a timer of {minutes} minutes|let the timer run {minutes} minutes""",
        ),
        "The user wants a timer.",
        lambda rng, split: {"minutes": words.number(rng, split, 2)},
        _timer,
    ),
    Kind(
        _listed("search_files|find_files|search"),
        _listed("Search files.|Find files|Search my files|Find a file.|Look for files."),
        {"query": ("query", "pattern")},
        _wordings(
            """find {query}|search for {query}|search files for {query}|find files with {query}|find the file {query}
            |look for {query}|search my files for {query}|find my file {query}|where is the file {query}?
            |search "{query}"|find "{query}"|look for files with {query}|which files have "{query}"?
            |search for the file {query}|look for "{query}" in my files|find files named {query}""",
            """look for the file {query}|search files with {query}|find the files with {query}
            |look for files named {query}|look in my files for {query}|where is my file {query}?""",
        ),
        "The user wants a file.",
        lambda rng, split: {"query": words.query(rng, split)},
        _search,
        ("query",),
    ),
    Kind(
        _listed("send_message|send_text|write_message"),
        _listed("Send a message.|Send message|Message a person|Write to somebody.|Send a text."),
        {"to": ("to", "person"), "text": ("text", "content")},
        _wordings(
            """send {to} a message: {text}|tell {to}: {text}|text {to}: {text}|message {to}: {text}
            |write to {to}: {text}|send "{text}" to {to}|send {to} the message "{text}"|let {to} know: {text}
            |say "{text}" to {to}|send a message to {to}: {text}|write {to}: {text}|message "{text}" to {to}
            |tell {to} "{text}"|send {to} "{text}"|send the message "{text}" to {to}|write to {to} "{text}\"""",
            """send {to} this message: {text}|tell this to {to}: {text}|write a message to {to}: {text}
            |send a text to {to}: {text}|write "{text}" to {to}|text "{text}" to {to}""",
        ),
        "The user wants to send a message.",
        lambda rng, split: {"to": words.person(rng, split), "text": words.message(rng, split)},
        _sent,
        ("text",),
    ),
    Kind(
        _listed("add_numbers|add|sum_up"),
        _listed("Add two numbers.|Add numbers|The sum of two numbers|Adds a and b.|Calculate a sum."),
        {"a": ("a", "first"), "b": ("b", "second")},
        _wordings(
            """add {a} and {b}|what is {a} + {b}?|what is {a} plus {b}?|{a} + {b}|{a} plus {b}|sum of {a} and {b}
            |what is the sum of {a} and {b}?|how much is {a} + {b}?|how much is {a} plus {b}?|calculate {a} + {b}
            |add {a} to {b}|{a}+{b}|what is {a}+{b}?|what do {a} and {b} make?|tell me the sum of {a} and {b}""",
            """add up {a} and {b}|how much is the sum of {a} and {b}?|calculate {a} plus {b}|add the numbers {a} and {b}
            |{a} and {b} make what?|how much is {a}+{b}?""",
        ),
        "The user wants a sum.",
        lambda rng, split: {"a": words.number(rng, split), "b": words.number(rng, split)},
        _sum,
    ),
    Kind(
        _listed("set_volume|volume|change_volume"),
        _listed("Set the volume.|Set volume|Change the volume|How loud it is.|Volume from 0 to 100."),
        {"level": ("level", "percent")},
        _wordings(
            """set the volume to {level}|volume {level}|set volume to {level}|turn the volume to {level}
            |volume to {level}|change the volume to {level}|make the volume {level}|set the sound to {level}
            |volume at {level}|turn the volume up to {level}|turn the volume down to {level}|put the volume at {level}
            |set the volume to {level} percent|I want the volume at {level}""",
            """put the volume to {level}|change volume to {level}|turn the sound to {level}|set the volume at {level}
            |let the volume be {level}""",
        ),
        "The user wants another volume.",
        lambda rng, split: {"level": words.number(rng, split, 0, 100)},
        _volume,
    ),
    Kind(
        _listed("open_app|start_app|launch"),
        _listed("Open an app.|Open app|Start a program|Opens a program.|Launch an app."),
        {"name": ("name", "app")},
        _wordings(
            """open {name}|start {name}|launch {name}|open the app {name}|start the app {name}|run {name}
            |open the program {name}|bring up {name}|show me {name}|start the program {name}|I want to use {name}
            |I need {name}|open {name} for me""",
            """launch the app {name}|start {name} for me|run the app {name}|I want to open {name}
            |run the program {name}""",
        ),
        "The user wants an app.",
        lambda rng, split: {"name": words.app(rng, split)},
        _opened,
    ),
)

_PREFIXES: Mapping[Split, tuple[str, ...]] = {
    "train": ("please ", "can you ", "hey, ", "I want you to ", "now ", "you must "),
    "held_out": ("could you ", "hi, ", "will you "),
}
_NO_REQUESTS = ("I", "now", "timer", "volume", "sum")  # first words of forms that say what, not do


def question(rng: random.Random, split: Split, kind: Kind, given: Arguments, *, follows: bool = False) -> str:
    """One of the kind's wordings with these arguments, as people type it; `follows`: after a turn with its tool."""
    form = rng.choice((kind.follow_ups if follows else kind.wordings)[split])
    asks = form.endswith("?")
    if not asks and form[0].islower() and form.split()[0] not in _NO_REQUESTS and rng.random() < 0.25:
        form = rng.choice(_PREFIXES[split]) + form
    if form[0].isalpha() and rng.random() < 0.35:
        form = form[0].upper() + form[1:]
    if asks and rng.random() < 0.2:
        form = form[:-1]
    may_go_on = not asks and form[-1] != '"' and not form.endswith(tuple(f"{{{slot}}}" for slot in kind.open_ended))
    if may_go_on and rng.random() < 0.2:
        form += rng.choice((".", " please", "!"))
    return form.format(**given)


def failed(rng: random.Random, split: Split, name: str) -> Report:
    """A tool that did not work, in the ways in which `run_tools` and functions tell so."""
    fault = words.fault(rng, split)
    prefixes = ("error", "Error", "ValueError", "LookupError", "OSError", "TimeoutError", f"{name} was not run")
    told: Result = f"{rng.choice(prefixes)}: {fault}"
    return rng.choice((told, told, told, {"error": fault})), f"That did not work: {fault}."
