"""The demonstration: five synthetic institutions, one real cine, one federation."""

import shutil
from importlib.resources import files
from pathlib import Path

from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.plan.document import Plan
from echofm_core.run_claim import load_runnable
from echofm_core.runtime.console import progress
from simulations.experiment import run_experiment
from simulations.outcome import Outcome

#: Patients in each layout; sized for eight minutes on two cores. Both MIMIC layouts are one
#: institution, where some cines have no label. HMC-QU has no label of a task.
DEMO_PATIENTS = {
    Layout.ECHONET_DYNAMIC: 440,
    Layout.CAMUS: 120,
    Layout.MIMIC_IV_ECHO: 15,
    Layout.MIMIC_LVVOL_A4C: 110,
    Layout.TMED2: 90,
    Layout.HMC_QU: 20,
}


def run_demo(folder: Path, *, fresh: bool = False) -> Outcome:
    """Write the institutions where they are missing, then run the demo plan on them.

    An interrupted demo goes on where it stopped; ``fresh`` removes an earlier one's data and run
    first. The folder gets ``data/`` (public layouts), ``plan.toml`` and ``run/``.
    """
    if fresh:
        for name in ("data", "run"):
            shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    plan = write_demo_plan(folder / "plan.toml")
    write_demo_data(folder / "data", plan.seed)
    run = folder / "run"
    return run_experiment(plan, run, resume=(run / "plan.toml").exists())


def write_demo_plan(path: Path) -> Plan:
    """Copy the demo's plan to where the user can read and change it; an edited one is kept."""
    if not path.exists():
        text = files("simulations").joinpath("demo.toml").read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")
    return load_runnable(path)


def write_demo_data(folder: Path, seed: int) -> None:
    """Write the institutions; a half-written folder from a killed run is written again."""
    done = folder / ".complete"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    with progress("writing five synthetic institutions", sum(DEMO_PATIENTS.values())) as meter:
        write_institutions(folder, DEMO_PATIENTS, seed=seed, meter=meter, workers=2)
    done.touch()
