"""Plans whose final weights were recorded: a change of the code that moves a bit is seen.

The last bits of a matrix product depend on the kind of CPU and on torch's version, so the record
has an entry a kind. On another kind nothing is recorded and the test is skipped: there,
``python -m tests.federation.test_recorded_digests`` adds an entry, on a commit whose bits are
trusted.
"""

from __future__ import annotations

import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from echofm_core.tasks import Task
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import build_sites, small_plan, with_states

RECORD = Path(__file__).with_name("recorded_digests.json")

#: How targets were standardised by default when weights were recorded.
SCALING = {Task.EF: (55.8, 12.4), Task.ESV: (3.57, 0.60), Task.EDV: (4.41, 0.44)}

#: Name -> what the plan changes in that of ``small_plan``.
PLANS: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedprox_fp16": {
        "federation": {"aggregation": "fedprox", "wire": "fp16", "weight_exponent": 0.5},
        "pretrain": {"share_decoder": True, "keep_optimizer": True},
    },
    "epochs": {
        "pretrain": {"rounds": 1, "local_epochs": 2, "augment": True},
        "finetune": {"local_steps": 0, "ema": 0.9, "layer_decay": 0.7, "augment": True},
    },
    "adapters": {"pretrain": {"rounds": 0}, "finetune": {"mode": "lora"}},
    "frozen": {"pretrain": {"rounds": 0}, "finetune": {"mode": "linear"}},
    "private": {
        "pretrain": {"rounds": 0},
        "finetune": {"local_steps": 0},
        "privacy": {"kind": "local", "noise_multiplier": 1.0, "delta": 1e-2, "secure": False},
    },
}


def kind_of_cpu() -> str:
    """What the last bits depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    vendor = next((line.split()[-1] for line in lines if line.startswith("vendor_id")), "unknown")
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {vendor} {capability} torch {torch.__version__}"


def run(name: str, sites: list[SiteSettings], folder: Path) -> str:
    """Digest of a plan's final weights."""
    torch.set_num_threads(1)
    plan = small_plan(**PLANS[name])
    finetune = plan.finetune.model_copy(update={"standardisation": SCALING})
    plan = plan.model_copy(update={"finetune": finetune})
    with Engine(1) as engine:
        grid = engine.grid(with_states(sites, folder / "states"))
        return run_federation(grid, plan, folder / "run").digest


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_ends_with_the_weights_of_its_record(
    name: str, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    recorded = json.loads(RECORD.read_text()).get(kind_of_cpu(), {})
    if name not in recorded:
        pytest.skip(f"no digest of it is recorded for {kind_of_cpu()}")
    assert run(name, built_sites, tmp_path) == recorded[name]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        made = build_sites(Path(place) / "sites")
        found = {name: run(name, made, Path(place) / name) for name in PLANS}
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    RECORD.write_text(json.dumps({**kept, kind_of_cpu(): found}, indent=1) + "\n")
