"""A run in a terminal: a screen that is drawn anew each second; plain lines where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from echofm_core.live.view import View
from echofm_core.pages.grid import terminal_table

#: Seconds between two looks at the run.
INTERVAL = 1.0
#: How a state is shown; the word is always there.
STYLES = {
    "training": "cyan", "validating": "cyan", "testing": "cyan", "running": "bold cyan",
    "answered": "green", "completed": "bold green", "refused": "bold red", "gone": "bold red",
    "failed": "bold red", "orphaned": "bold red", "absent": "yellow", "waiting": "yellow",
    "unanswered": "yellow",
}  # fmt: skip


def watch_in_terminal(source: Callable[[], View], console: Console) -> None:
    """Show a run until it is over, and at last how it ended, where the screen scrolls."""
    view, seen = source(), set[str]()
    with ExitStack() as stack:
        live = None
        if console.is_terminal and not view.over:
            live = stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
        while not view.over:
            if live:
                live.update(screen(view, console), refresh=True)
            else:
                _print_new(view, seen)
            time.sleep(INTERVAL)
            view = source()
    if seen:
        _print_new(view, seen)
    console.print(screen(view, console))


def _print_new(view: View, seen: set[str]) -> None:
    for line in lines(view, seen):
        print(line, flush=True)


def screen(view: View, console: Console) -> RenderableType:
    """Everything, tables and all; what does not fit into the terminal is cut off below."""
    parts: list[RenderableType] = [
        Text.assemble((view.title, "bold"), "  ", (view.state, STYLES[view.state])),
        Text(view.sentence),
        Text("  ".join(f"{name} {value}" for name, value in view.facts), style="dim"),
    ]
    if view.total:
        words = f"{view.done} of {view.total} rounds"
        bar = ProgressBar(total=view.total, completed=view.done, width=min(60, console.width))
        parts += [bar, Text(words, style="dim")]
    parts += [Text(note, style="yellow") for note in view.notes]
    for table in view.tables:
        parts += [Text(f"\n{table.caption}", style="bold")]
        parts += [terminal_table(table.grid, console.width, STYLES)]
    return Group(*parts)


def lines(view: View, seen: set[str]) -> Iterator[str]:
    """What is new in a view: its sentence, and the rows of what is over, oldest first.

    Args:
        view: As it is now.
        seen: What was said; what is said now is added.
    """
    new = [f"{view.state}: {view.sentence}", *view.notes]
    for table in view.tables:
        if table.past:
            for row in reversed(table.grid.rows):
                pairs = zip(table.grid.columns, row, strict=True)
                new.append(", ".join(f"{column} {cell}" for column, cell in pairs if cell))
    for line in new:
        if line not in seen:
            seen.add(line)
            yield f"{time.strftime('%H:%M:%S')} {line}"
