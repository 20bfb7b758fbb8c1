"""Tables of the terminal: a data set a line, short enough for 100 columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from echofm_core.data.doctor import tables
from echofm_core.data.doctor.count import VOCABULARY
from echofm_core.data.doctor.numbers import SYNTHETIC, Part, Spread, Summary
from echofm_core.data.doctor.tables import GROUPS, UNKNOWN, is_known, text_grid, top, written
from echofm_core.data.findings import Severity
from echofm_core.pages.grid import Grid, printable, terminal_table

#: Longest file name, in characters; the files that are written hold it all.
WIDEST = 44


@dataclass(frozen=True, kw_only=True, slots=True)
class Titled:
    """A table with what stands above and below it."""

    title: str
    grid: Grid
    note: str = ""


def print_summary(summary: Summary, console: Console) -> None:
    """Print the verdict and the tables, which fit a terminal of 100 columns; narrower, they fold.

    What a file name holds is printed as text: neither markup nor control characters act.
    """
    if summary.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    console.print(summary.verdict, style="bold", markup=False)
    console.print(summary.looked_at, markup=False)
    for titled in terminal_tables(summary):
        console.print(f"\n{titled.title}", style="bold", markup=False)
        console.print(terminal_table(titled.grid, console.width), soft_wrap=False)
        if titled.note:
            console.print(titled.note, style="dim", markup=False)


def terminal_tables(summary: Summary) -> Iterator[Titled]:
    """A data set a line; what nobody knows is left out."""
    parts = summary.parts
    yield Titled(title="Data sets", grid=tables.overview(parts))
    for group in ("view", "split", "label", "as_grade", "sex", "frame_rate", "scanner", "quality"):
        rows = _across(parts, group) if VOCABULARY[group] else _down(parts, group)
        if rows is not None:
            yield Titled(title=f"Clips by {GROUPS[group]}", grid=rows)
    note = "Median (5th to 95th percentile)."
    yield Titled(title="Distributions", grid=_medians(parts), note=note)
    if summary.shared:
        shared, note = tables.shared(summary), tables.SHARED_NOTE
        yield Titled(title="Patients in two places", grid=shared, note=note)
    for severity in Severity:
        rows = _kinds(summary, severity)
        if rows is not None:
            title = f"{severity.value.capitalize()}: {summary.found(severity):,}"
            note = tables.reasons(
                (kind.kind, kind.reason)
                for kind in summary.kinds
                if kind.severity == severity.value
            )
            yield Titled(title=title, grid=rows, note=note)


def _kinds(summary: Summary, severity: Severity) -> Grid | None:
    """Findings of one severity by data set and kind, with an example; None without."""
    rows = [
        (kind.dataset, kind.kind, f"{kind.count:,}", _tail(printable(kind.item)))
        for kind in summary.kinds
        if kind.severity == severity.value
    ]
    return text_grid(("data set", "kind", "count", "for instance"), rows, (2,)) if rows else None


def _across(parts: Sequence[Part], group: str) -> Grid | None:
    """Data sets down, values across; data sets of which nothing is known are left out."""
    rows = {part.dataset: dict(top(part, group)) for part in parts if is_known(part, group)}
    if not rows:
        return None
    order = {written(value): place for place, value in enumerate(VOCABULARY[group])}
    values = sorted(
        {value for row in rows.values() for value in row},
        key=lambda value: (value == UNKNOWN, order.get(value, len(order)), value),
    )
    cells = [(name, *(f"{row.get(value, 0):,}" for value in values)) for name, row in rows.items()]
    return text_grid(("data set", *values), cells, range(1, len(values) + 1))


def _down(parts: Sequence[Part], group: str) -> Grid | None:
    """A data set and a value a line, for values that are long or many."""
    rows = [
        (part.dataset, value, f"{clips:,}")
        for part in parts
        if is_known(part, group)
        for value, clips in top(part, group)
    ]
    return text_grid(("data set", GROUPS[group], "clips"), rows, (2,)) if rows else None


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
