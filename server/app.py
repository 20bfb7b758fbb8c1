"""The Flower ServerApp: reads its settings, runs the federation, prints what happens.

Run config: ``plan`` (path of the plan), ``run-folder`` (path), ``resume`` (bool) and, where sites
are to be waited for, ``members`` (``NAME=NODE`` with spaces between) and ``wait-seconds``. By the
file ``watch`` the command ``echofm server run`` hears what happens (``server/watch.py``).
"""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.live.record import live_run
from echofm_core.run_claim import held, load_runnable
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.files import naming_full_disk, settle
from echofm_core.runtime.sessions import Sessions
from server.ending import RunOptions
from server.events import Event
from server.live_steps import LiveListener
from server.outcome import conclude
from server.rounds import run_federation
from server.watch import reporter

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the plan that the run config names.

    Raises:
        PlanError: It names none, or no run folder.
        OutputError: The disk of the run folder is full.
    """
    settings = context.run_config
    for key in ("plan", "run-folder"):
        if not settings.get(key):
            raise PlanError(f"the run config lacks `{key}`; give it as -c '{key}=\"PATH\"'.")
    members = dict(pair.split("=") for pair in str(settings.get("members", "")).split())
    watched = str(settings.get("watch", ""))
    with reporter(Path(watched) if watched else None) as waiting:
        plan, folder = load_runnable(Path(str(settings["plan"]))), Path(str(settings["run-folder"]))
        # Against a simulation, or an institution's own training, too.
        with naming_full_disk(folder), held(folder), live_run(folder, plan.rounds) as live:
            sessions, listener = Sessions(folder), LiveListener(live, FEDERATED)
            live.expect(FEDERATED)

            def show(event: Event) -> None:
                listener.event(event)
                if event.round_done:
                    sessions.tick()
                waiting.line(event.line())

            result = run_federation(
                grid,
                plan,
                folder,
                resume=bool(settings.get("resume", False)),
                on_event=show,
                options=RunOptions(
                    members={name: int(node) for name, node in members.items()},
                    wait_seconds=float(settings.get("wait-seconds", 600.0)),
                    floor=True,
                    on_step=listener.step,
                ),
            )
            waiting.line(f"final weights {result.digest}")
            live.say("writing the report")
            report = conclude(plan, folder, result, sessions.tick())
            settle(folder)  # before anybody hears that it is completed
            waiting.line(f"report: {report}")
