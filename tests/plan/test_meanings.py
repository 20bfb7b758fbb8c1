"""The texts below a section's keys; pydantic, which can read them too, is the other reader."""

from __future__ import annotations

from pydantic import ConfigDict

from echofm_core.plan.complaints import tables
from echofm_core.plan.document import Plan
from echofm_core.plan.meanings import meanings
from echofm_core.plan.section import Section


class Base(Section):
    first: int = 1
    """Of the base, over
    two lines."""

    second: int = 2
    """Of the base."""


class Derived(Base):
    second: int = 3
    """Of its own."""

    third: int = 4

    later = frozenset({"third"})
    """Of no key."""


def test_a_text_belongs_to_the_key_above_it() -> None:
    assert meanings(Derived) == {"first": "Of the base, over\ntwo lines.", "second": "Of its own."}


def test_pydantic_finds_the_same() -> None:
    class ByPydantic(Section):
        model_config = ConfigDict(use_attribute_docstrings=True)

        first: int = 1
        """A text
        with ``code``."""

        second: int = 2

    found = {key: info.description for key, info in ByPydantic.model_fields.items()}
    assert meanings(ByPydantic) == {key: text for key, text in found.items() if text}


def test_every_key_of_a_plan_has_a_text() -> None:
    for name, section in tables(Plan):
        own = {key for key in section.model_fields if key not in dict(tables(section))}
        assert own <= meanings(section).keys(), name
