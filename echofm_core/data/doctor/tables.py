"""Tables out of the numbers, for the page and for a terminal of 100 columns."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console

from echofm_core.data.doctor.count import GROUPS, QUANTITIES
from echofm_core.data.doctor.numbers import SYNTHETIC, Part, Spread, Summary
from echofm_core.data.findings import Severity
from echofm_core.data.reasons import reason_table
from echofm_core.pages.grid import Grid, printable, terminal_table
from echofm_core.runtime.text import many

UNKNOWN = "unknown"
#: File with every finding, in the report's folder.
FINDINGS = "findings.csv"
#: Most frequent values of an open vocabulary that are shown; the others are counted.
VALUES = 8
#: Number of a distribution -> its title.
LEVELS = {"low": "min", "p5": "5 %", "median": "median", "mean": "mean", "sd": "sd",
          "p95": "95 %", "high": "max"}  # fmt: skip
#: Longest file name on a terminal, in characters; the files that are written hold it all.
WIDEST = 44
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
    for name, (title, unit, digits) in QUANTITIES.items():
        found = part.spreads[name]
        if found.n:
            levels = (getattr(found, level) for level in LEVELS)
            shown = ("" if level is None else f"{level:,.{digits}f}" for level in levels)
            title += f" ({unit})" if unit else ""
            rows.append((title, f"{found.n:,}", f"{found.missing:,}", *shown))
    head = ("quantity", "clips", "missing", *LEVELS.values())
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
    most = max(VALUES, len(GROUPS[group][1]))
    unknown = [(UNKNOWN, item.clips) for item in part.counts[group] if item.value is None]
    shown = [(_written(str(item.value)), item.clips) for item in known[:most]]
    if rest := known[most:]:
        shown.append((many(len(rest), "other"), sum(item.clips for item in rest)))
    return [*shown, *unknown]


def _written(value: str) -> str:
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


def print_summary(summary: Summary, console: Console) -> None:
    """Print the verdict and the tables, which fit a terminal of 100 columns; narrower, they fold.

    What a file name holds is printed as text: neither markup nor control characters act.
    """
    if summary.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    console.print(summary.verdict, style="bold", markup=False)
    console.print(summary.coverage, markup=False)
    for title, grid, note in _terminal_tables(summary):
        console.print(f"\n{title}", style="bold", markup=False)
        console.print(terminal_table(grid, console.width), soft_wrap=False)
        if note:
            console.print(note, style="dim", markup=False)


def _terminal_tables(summary: Summary) -> Iterator[tuple[str, Grid, str]]:
    """Title, table of a data set a line, and note; what nobody knows is left out."""
    parts = summary.parts
    yield "Data sets", overview(parts), ""
    for group in GROUPS:
        known = [part for part in parts if is_known(part, group)]
        title, order = GROUPS[group]
        if known:
            yield f"Clips by {title}", _across(known, group) if order else _down(known, group), ""
    yield "Distributions", _medians(parts), "Median (5th to 95th percentile)."
    if summary.shared:
        yield "Patients in two places", shared(summary), SHARED_NOTE
    head = ("data set", "kind", "count", "for instance")
    for severity in Severity:
        if kinds := [kind for kind in summary.kinds if kind.severity == severity.value]:
            rows = [
                (kind.dataset, kind.kind, f"{kind.count:,}", _tail(printable(kind.item)))
                for kind in kinds
            ]
            title = f"{severity.value.capitalize()}: {summary.found(severity):,}"
            yield title, text_grid(head, rows, (2,)), ""
            found = ((kind.kind, reason) for kind in kinds for reason in kind.reasons)
            yield f"Why {severity.value}", reason_table(found, f"in {FINDINGS}"), ""


def _across(parts: Sequence[Part], group: str) -> Grid:
    """Data sets down, values across."""
    rows = {part.dataset: dict(top(part, group)) for part in parts}
    order = {_written(value): place for place, value in enumerate(GROUPS[group][1])}
    values = sorted(
        {value for row in rows.values() for value in row},
        key=lambda value: (value == UNKNOWN, order.get(value, len(order)), value),
    )
    cells = [(name, *(f"{row.get(value, 0):,}" for value in values)) for name, row in rows.items()]
    return text_grid(("data set", *values), cells, range(1, len(values) + 1))


def _down(parts: Sequence[Part], group: str) -> Grid:
    """A data set and a value a line, for values that are long or many."""
    pairs = [(part.dataset, pair) for part in parts for pair in top(part, group)]
    rows = [(dataset, value, f"{clips:,}") for dataset, (value, clips) in pairs]
    return text_grid(("data set", GROUPS[group][0], "clips"), rows, (2,))


def _medians(parts: Sequence[Part]) -> Grid:
    shown = {"ef": 0, "fps": 0, "frames": 0, "seconds": 1, "grey": 0}
    rows = []
    for part in parts:
        cells = [_range(part.spreads[name], digits) for name, digits in shown.items()]
        cells.insert(1, "" if part.reduced_ef is None else f"{100 * part.reduced_ef:.0f} %")
        rows.append((part.dataset, *cells))
    head = ("data set", "EF (%)", "EF < 50", "Hz", "frames", "seconds", "grey level")
    return text_grid(head, rows, range(1, len(head)))


def _range(found: Spread, digits: int) -> str:
    if found.median is None:
        return ""
    return f"{found.median:.{digits}f} ({found.p5:.{digits}f}-{found.p95:.{digits}f})"


def _tail(text: str) -> str:
    """The end of a path, which tells files apart."""
    if len(text) <= WIDEST:
        return text
    end = text[3 - WIDEST :]
    return "..." + end[max(0, end.find("/")) :]
