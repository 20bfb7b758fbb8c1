"""Tables out of the numbers, for the page and for the terminal."""

from collections.abc import Iterable, Sequence

from echofm_core.data.doctor.count import QUANTITIES, VOCABULARY
from echofm_core.data.doctor.numbers import Part, Summary
from echofm_core.pages.grid import Grid, printable
from echofm_core.runtime.text import many

UNKNOWN = "unknown"
#: Most frequent values of an open vocabulary that are shown; the others are counted.
VALUES = 8
#: Numbers of a distribution -> title.
LEVELS = {
    "low": "min",
    "p5": "5 %",
    "median": "median",
    "mean": "mean",
    "sd": "sd",
    "p95": "95 %",
    "high": "max",
}

#: Quantity -> title, unit, decimals.
TITLES: dict[str, tuple[str, str, int]] = {
    "ef": ("EF", "%", 1),
    "edv": ("EDV", "ml", 1),
    "esv": ("ESV", "ml", 1),
    "age": ("age", "years", 1),
    "fps": ("frame rate", "Hz", 1),
    "frames": ("frames", "", 0),
    "seconds": ("duration", "s", 2),
    "height": ("height", "pixels", 0),
    "width": ("width", "pixels", 0),
    "grey": ("grey level in the sector", "0 to 255", 1),
    "sector": ("sector", "share of the frame", 2),
}
#: Group of counts -> title.
GROUPS = {
    "view": "view",
    "split": "split",
    "label": "label",
    "as_grade": "aortic stenosis",
    "frame_rate": "frame rate (Hz)",
    "scanner": "scanner",
    "sex": "sex",
    "quality": "quality",
}
SHARED_NOTE = (
    "Counted by equal ids: data sets that number their patients alike share numbers, not people."
)


def overview(parts: Sequence[Part]) -> Grid:
    """Clips, patients and findings of each data set."""
    names = ("clips", "patients", "studies", "decoded", "quarantined", "repaired", "noted")
    return text_grid(
        ("data set", *names),
        [(part.dataset, *(f"{getattr(part, name):,}" for name in names)) for part in parts],
        range(1, 8),
    )


def spreads(part: Part) -> Grid:
    """Distributions of one data set, a quantity a row; those without a value are left out."""
    rows = []
    for name in QUANTITIES:
        found, (title, unit, digits) = part.spreads[name], TITLES[name]
        if found.n:
            shown = (_number(getattr(found, level), digits) for level in LEVELS)
            title = f"{title} ({unit})" if unit else title
            rows.append((title, f"{found.n:,}", f"{found.missing:,}", *shown))
    head = ("", "clips", "missing", *LEVELS.values())
    return text_grid(head, rows, range(1, len(head)))


def shared(summary: Summary) -> Grid:
    """Patients in two splits or two data sets."""
    rows = [
        (
            item.dataset, item.split or UNKNOWN, item.other_dataset, item.other_split or UNKNOWN,
            f"{item.patients:,}",
        )
        for item in summary.shared
    ]  # fmt: skip
    return text_grid(("data set", "split", "and data set", "split", "patients"), rows, (4,))


def top(part: Part, group: str) -> list[tuple[str, int]]:
    """Values and clips of one group; of many values the most frequent and the rest in one line."""
    known = [item for item in part.counts[group] if item.value is not None]
    most = max(VALUES, len(VOCABULARY[group]))
    unknown = [(UNKNOWN, item.clips) for item in part.counts[group] if item.value is None]
    shown = [(written(str(item.value)), item.clips) for item in known[:most]]
    if rest := known[most:]:
        shown.append((many(len(rest), "other"), sum(item.clips for item in rest)))
    return [*shown, *unknown]


def written(value: str) -> str:
    """A value as it is shown."""
    return printable(value.replace("_", " "))


def is_known(part: Part, group: str) -> bool:
    """Has any clip a value?"""
    return any(item.value is not None and item.clips for item in part.counts[group])


def text_grid(
    columns: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: Iterable[int]
) -> Grid:
    """A grid whose every cell can be shown."""
    return Grid(
        columns=tuple(map(printable, columns)),
        rows=tuple(tuple(map(printable, row)) for row in rows),
        numbers=frozenset(numbers),
    )


def reasons(found: Iterable[tuple[str, str]]) -> str:
    """What kinds of findings mean, one a line: the first reason of each.

    >>> reasons([("undecodable", "It holds no pixels."), ("undecodable", "It is cut off.")])
    'undecodable: It holds no pixels.'
    """
    first: dict[str, str] = {}
    for kind, reason in found:
        first.setdefault(kind, reason)
    return "\n".join(f"{printable(kind)}: {printable(reason)}" for kind, reason in first.items())


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
