"""Why findings were made: each reason with its count, the most frequent first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from echofm_core.pages.grid import Grid, printable

#: Lines that a kind has at most.
SHOWN = 5
#: A word with a digit: a number, or the name of a file or patient.
_OWN = re.compile(r"\S*\d\S*")


@dataclass(frozen=True, slots=True)
class Reason:
    """Findings for one reason.

    Attributes:
        text: The sentence of the first of them.
        count: How many.
        varies: The sentences of the others have other numbers or names in them.
    """

    text: str
    count: int = 1
    varies: bool = False

    @property
    def sentence(self) -> str:
        """As it is shown; what varies is said behind it."""
        return printable(self.text) + " (numbers or names vary)" * self.varies


def merged(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Equal reasons as one, the most frequent first; words that have digits may differ.

    >>> found = merged(map(Reason, ["Cut.", "It is 7 x 9.", "It is 8 x 9."]))
    >>> [(each.count, each.sentence) for each in found]
    [(2, 'It is 7 x 9. (numbers or names vary)'), (1, 'Cut.')]
    """
    found: dict[str, Reason] = {}
    for reason in reasons:
        form = _OWN.sub("#", reason.text)
        first = found.get(form)
        if first is None:
            found[form] = reason
            continue
        varies = first.varies or reason.varies or first.text != reason.text
        found[form] = replace(first, count=first.count + reason.count, varies=varies)
    return tuple(sorted(found.values(), key=lambda reason: -reason.count))


def reason_table(found: Iterable[tuple[str, Reason]], where: str) -> Grid:
    """Kind of finding, count and reason; of many reasons of a kind the last line is a count.

    Args:
        found: Kind and reason.
        where: Where those are that are not shown, e.g. ``in findings.csv``.
    """
    kinds: dict[str, list[Reason]] = {}
    for kind, reason in found:
        kinds.setdefault(kind, []).append(reason)
    rows = []
    for kind, reasons in kinds.items():
        each = merged(reasons)
        shown = each if len(each) <= SHOWN else each[: SHOWN - 1]
        lines = [(reason.count, reason.sentence) for reason in shown]
        if rest := each[len(shown) :]:
            count = sum(reason.count for reason in rest)
            lines.append((count, f"{len(rest):,} other reasons, {where}"))
        rows += [(printable(kind), f"{count:,}", sentence) for count, sentence in lines]
    return Grid(columns=("kind", "count", "reason"), rows=tuple(rows), numbers=frozenset({1}))
