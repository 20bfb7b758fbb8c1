"""Loading the sub-commands of `echofm`, which each package contributes by an entry point."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import typer

import echofm_core
from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.runtime.extras import DISTRIBUTION


def load_sub_commands(app: typer.Typer) -> None:
    """Add what each package of this installation contributes.

    Raises:
        EnvironmentClashError: Another package stands under a name of ours, or a module of ours
            cannot be imported.
    """
    for entry in sorted(entry_points(group="echofm.commands"), key=lambda item: item.name):
        _refuse_foreign(entry.module.partition(".")[0])
        _load(entry)(app)


def _load(entry: EntryPoint) -> Callable[[typer.Typer], None]:
    try:
        return cast(Callable[[typer.Typer], None], entry.load())
    except Exception as error:
        raise EnvironmentClashError(
            f"the sub-commands of `{entry.name}` cannot be loaded ({type(error).__name__}: "
            f"{error}){_also(entry.module.partition('.')[0])}; this installation is incomplete or "
            f"mixed: install {DISTRIBUTION} again, in a virtual environment of its own."
        ) from error


def _refuse_foreign(name: str) -> None:
    """Our packages lie side by side; one that lies elsewhere is somebody else's."""
    ours = Path(echofm_core.__file__).resolve().parents[1]
    found = _place(name)
    if found is None:
        raise EnvironmentClashError(
            f"the package `{name}` of {DISTRIBUTION} is not installed; install it again, in a "
            "virtual environment of its own."
        )
    if found.resolve() != ours / name:
        raise EnvironmentClashError(
            f"another package provides `{name}`: it is found at {found}, ours is at {ours / name}"
            f"{_also(name)}; use a virtual environment of its own, and no PYTHONPATH that leads "
            "there."
        )


def _also(name: str) -> str:
    """Other distributions that say they bring this package, as the end of a sentence."""
    others = sorted(set(packages_distributions().get(name, ())) - {DISTRIBUTION})
    return f"; {', '.join(others)} brings a `{name}` too" if others else ""


def _place(name: str) -> Path | None:
    """Folder of a package, or the file of a module; nothing of it is run."""
    spec = find_spec(name)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0]) if places else Path(str(spec.origin))
