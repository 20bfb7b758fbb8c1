"""An item of a reporting checklist, and its answer from the facts of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from echofm_core.report.checklist.facts import Facts

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

    def answer(self, facts: Facts) -> str:
        """Sentences from the facts, with what is left for the authors; or :data:`BLANK`."""
        said = [text for answer in self.answers if (text := answer(facts))]
        if not said:
            return BLANK
        return " ".join([*said, *([f"Authors: {self.authors}."] if self.authors else [])])


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
