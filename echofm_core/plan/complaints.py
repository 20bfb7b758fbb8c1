"""What is wrong with a plan, as sentences: the key, what was written, what was likely meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echofm_core.plan.section import Section
from echofm_core.runtime.text import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def complaint(item: ErrorDetails, plan: type[Section]) -> str:
    """One of pydantic's errors as "`key`: what is wrong, got value", by the keys of ``plan``."""
    path = [str(part) for part in item["loc"] if not isinstance(part, int) and part != "[key]"]
    key = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"unknown key `{key}`{_meant(path, plan)}"
    if item["type"] == "enum":
        return f"`{key}`: {_not_one_of(item)}"
    if item["type"] == "value_error":  # our own words
        sentence = str(item["msg"]).removeprefix("Value error, ")
        return f"`{key}`: {sentence}" if key else sentence
    message = str(item["msg"])
    if item["type"] == "tuple_type":
        message = "write a list, in square brackets"
    got = f", got {item['input']!r}" if not isinstance(item["input"], dict) else ""
    return f"`{key}`: {message[0].lower() + message[1:]}{got}"


def unknown_word(kind: str, word: str, legal: Sequence[str]) -> str:
    """A word that is none of a list, e.g. "there is no view 'a4c', did you mean 'A4C'; ..."."""
    return f"there is no {kind} {word!r}{did_you_mean(word, legal)}; there are {', '.join(legal)}"


def _not_one_of(item: ErrorDetails) -> str:
    context: Mapping[str, Any] = item.get("ctx") or {}
    legal = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    word = item["input"]
    hint = did_you_mean(word, legal) if isinstance(word, str) else ""
    return f"{word!r} is none of {', '.join(legal)}{hint}"


def _meant(path: list[str], plan: type[Section]) -> str:
    """The table that has the key, else the nearest key of the table that it stands in."""
    *outer, word = path
    homes = [name for name, table in tables(plan) if word in table.model_fields]
    if homes:
        there = " or ".join(f"[{name}]" if name else "the top of the file" for name in homes)
        return f", which belongs to {there}"
    here = dict(tables(plan)).get(".".join(outer))
    return did_you_mean(word, here.model_fields, "`") if here else ""


def tables(section: type[Section], name: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Every table of a plan by its dotted name, outer ones first; the top level is ""."""
    yield name, section
    for key, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from tables(info.annotation, f"{name}.{key}" if name else key)
