"""What there is to choose from: protocols, methods and baselines, each in a sentence."""

from __future__ import annotations

import inspect

from rich.console import Console

from echofm_core.evaluation.config import Baseline
from echofm_core.evaluation.model_names import FLOOR
from echofm_core.pages.grid import Grid, terminal_table
from echofm_core.plan.document import Plan
from echofm_core.runtime.console import console as terminal
from simulations.methods import METHODS, SETS
from simulations.methods._api import Method
from simulations.protocols.assign import RULES
from simulations.study.candidates import LEARNING_RATE

_FLOOR = "Ridge regression on brightness and motion of a coarse grid: what needs no network."


def listed() -> dict[str, Grid]:
    """Title -> table."""
    rules = tuple((name.value, _sites(rule), rule.caveat) for name, rule in RULES.items())
    methods = tuple((item.name, item.words, _tried(item), item.source) for item in METHODS.values())
    sets = tuple((name, f"All of {', '.join(names)}.", "", "") for name, names in SETS.items())
    baselines = [(item.value, METHODS[item.value].words) for item in Baseline]
    return {
        "Protocols (protocol.name, --protocols): which patients are a site": Grid(
            columns=("protocol", "sites", "what to keep in mind"), rows=rules
        ),
        "Methods (study.methods, --methods): what is trained": Grid(
            columns=("method", "what it is", "what study.tune tries", "source"),
            rows=(*sets, *methods),
        ),
        "Baselines (evaluation.baselines): what stands beside the model of one run": Grid(
            columns=("baseline", "what it is"),
            rows=(*baselines, (FLOOR, f"{_FLOOR} Always there.")),
        ),
    }


def _tried(method: Method) -> str:
    """The key of its own that a study tries first, with its values under the default plan."""
    own: dict[str, list[str]] = {}
    for values in method.tried(Plan()):
        for key, value in values.items():
            own.setdefault(key, []).append(f"{value:g}")
    words = [f"{key}: {', '.join(found)}" for key, found in own.items()]
    return f"{'; '.join(words)}; then {LEARNING_RATE}" if words else LEARNING_RATE


def print_list(console: Console = terminal) -> None:
    """Print all tables."""
    for title, table in listed().items():
        console.print(f"\n{title}", markup=False)
        console.print(terminal_table(table, console.width))


def _sites(rule: object) -> str:
    """What the rule's own file says first."""
    text = inspect.getdoc(inspect.getmodule(type(rule))) or ""
    return " ".join(text.split("\n\n")[0].replace("``", "").split())
