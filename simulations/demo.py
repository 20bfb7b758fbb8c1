"""The demonstration: synthetic hospitals, one of them never seen, and public layouts."""

import shutil
from importlib.resources import files
from pathlib import Path

from echofm_core.phantom.hospitals import HOSPITALS
from echofm_core.phantom.institutions import Layout, write_hospitals, write_institutions
from echofm_core.plan.document import Plan
from echofm_core.run_claim import load_runnable
from echofm_core.runtime.console import progress
from echofm_core.runtime.files import check_place
from simulations.experiment import run_experiment
from simulations.outcome import Outcome

#: Hospitals in which more moves than the heart: four that train, and ``westgate``, which the plan
#: calls unseen. It has makers of machines that others have too, and patients and habits of its own.
DEMO_HOSPITALS = ("harbour", "northfield", "riverside", "st_anne", "westgate")
#: Patients at each; sized, as the plan is, for at most eight minutes on two cores.
HOSPITAL_PATIENTS = 75
#: Patients in each public layout, which have the errors that the real sets are known to have.
#: TMED-2 has grades of aortic stenosis and MIMIC-IV-ECHO no label: both join the federation. Of the
#: others the readers say what cannot be used; their hearts are too easy to show what training does.
LAYOUT_PATIENTS = {
    Layout.ECHONET_DYNAMIC: 20,
    Layout.CAMUS: 10,
    Layout.MIMIC_IV_ECHO: 12,
    Layout.MIMIC_LVVOL_A4C: 10,
    Layout.TMED2: 40,
    Layout.HMC_QU: 8,
}


def run_demo(folder: Path, *, fresh: bool = False) -> Outcome:
    """Write the institutions where they are missing, then run the demo plan on them.

    An interrupted demo goes on where it stopped; ``fresh`` removes an earlier one's data and run
    first. The folder gets ``data/`` (hospitals and public layouts), ``plan.toml`` and ``run/``.
    """
    if fresh:
        for name in ("data", "run"):
            shutil.rmtree(folder / name, ignore_errors=True)
    check_place(folder, folder=True)
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
    chosen = [item for item in HOSPITALS if item.name in DEMO_HOSPITALS]
    count = HOSPITAL_PATIENTS * len(chosen) + sum(LAYOUT_PATIENTS.values())
    with progress("writing synthetic institutions", count) as meter:
        write_hospitals(
            folder / "hospitals", chosen, HOSPITAL_PATIENTS, seed=seed, meter=meter, workers=2
        )
        write_institutions(folder / "public", LAYOUT_PATIENTS, seed=seed, meter=meter, workers=2)
    done.touch()
