"""An item of a reporting checklist, and its answer from the facts of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from echofm_core.report.checklist.facts import Facts
from echofm_core.runtime.text import listed

#: The answer of an item that a run says nothing of.
BLANK = "To be filled in by the authors."

#: From the facts of a run to sentences; empty where they say nothing.
Answer = Callable[[Facts], str]


@dataclass(frozen=True, slots=True)
class Item:
    """One item.

    Attributes:
        number: As the checklist has it.
        asks: What it asks for, in words of ours: the checklist's own are in the paper.
        answers: What a run can say of it, in this order; none: it is for the authors alone.
        authors: What is left for the authors where a run answers in part.
    """

    number: str
    asks: str
    answers: tuple[Answer, ...] = ()
    authors: str = ""

    def answer(self, facts: Facts, given: Mapping[Answer, str] = MappingProxyType({})) -> str:
        """Sentences from the facts, with what is left for the authors; or :data:`BLANK`.

        Args:
            facts: Of the run.
            given: Number of the item where an answer stands already; here it is referred to.
        """
        known = {answer: text for answer in self.answers if (text := answer(facts))}
        if not known:
            return BLANK
        parts = [text for answer, text in known.items() if answer not in given]
        if items := list(dict.fromkeys(given[answer] for answer in known if answer in given)):
            also = " also" if parts else ""
            parts.append(f"See{also} {'item' if len(items) == 1 else 'items'} {listed(items)}.")
        return " ".join([*parts, *([f"Authors: {self.authors}."] if self.authors else [])])


@dataclass(frozen=True, slots=True)
class Checklist:
    """A checklist.

    Attributes:
        name: As it is known.
        source: The paper to cite and to take the wording from.
        items: All of them, in its order.
    """

    name: str
    source: str
    items: tuple[Item, ...]
