"""Loading a plan is quick, and opens nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from echofm_core.plan.load import load_plan

#: Libraries that are slow to load.
HEAVY = "torch", "pandas", "numpy", "timm", "scipy", "pyarrow", "flwr", "cv2", "matplotlib"


def test_a_plan_is_read_without_a_heavy_library_and_without_its_weights(tmp_path: Path) -> None:
    """``machine.start`` names weights that are not there: nobody looks for them yet."""
    plan = tmp_path / "plan.toml"
    plan.write_text("[machine]\nstart = 'nowhere'\n[finetune]\ntasks = ['ef']\n")
    code = (
        "import sys; from pathlib import Path; from echofm_core.plan.load import load_plan;"
        f"plan = load_plan(Path({str(plan)!r})); assert plan.machine.start.endswith('nowhere');"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_plan_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("seed = 7\n", encoding="utf-8-sig")
    assert load_plan(tmp_path / "plan.toml").seed == 7
