"""The Flower ServerApp: reads its settings, runs the federation, prints what happens.

Run config: ``plan`` (path of the plan), ``run-folder`` (path), ``resume`` (bool) and, where sites
are to be waited for by name, ``sites`` (names with commas between) and ``wait-seconds``.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from echofm_core.errors import PlanError
from server.events import Event

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the plan that the run config names."""
    from echofm_core.plan import load_plan
    from server.outcome import conclude
    from server.rounds import run_federation

    settings = context.run_config
    for key in ("plan", "run-folder"):
        if not settings.get(key):
            raise PlanError(f"the run config lacks `{key}`; give it as -c '{key}=\"PATH\"'.")
    names = [name.strip() for name in str(settings.get("sites", "")).split(",") if name.strip()]
    plan, folder = load_plan(Path(str(settings["plan"]))), Path(str(settings["run-folder"]))
    result = run_federation(
        grid,
        plan,
        folder,
        resume=bool(settings.get("resume", False)),
        on_event=_show,
        expected_sites=names,
        wait_seconds=float(settings.get("wait-seconds", 600.0)),
        floor=True,
    )
    print(f"final weights {result.digest}", flush=True)
    print(f"report: {conclude(plan, folder, result)}", flush=True)


def _show(event: Event) -> None:
    print(event.line(), flush=True)
