"""What workers are forked from."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _python(code: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def test_what_sites_need_loads_without_a_thread_and_without_a_look_at_a_gpu() -> None:
    """Neither would work in a fork."""
    said = _python(
        """
        import importlib, threading
        import torch
        asked = []
        for name in ("is_available", "device_count", "init", "_lazy_init"):
            setattr(torch.cuda, name, lambda *_, name=name: asked.append(name))
        from simulations.workers import PRELOADED
        for name in PRELOADED:
            importlib.import_module(name)
        print(asked, torch.cuda.is_initialized(), threading.active_count())
        """
    )
    assert said == "[] False 1"


def test_those_that_decode_are_forks_of_the_same_only_where_workers_are_announced() -> None:
    """A command that decodes alone does not wait for PyTorch."""
    script = """
        from echofm_core.data.parallel import parallel_map
        from echofm_core.plan.machine import MachineConfig
        from simulations.engine import Engine
        from tests.simulations.test_workers import has_pytorch
        {announce}
        print(*parallel_map(has_pytorch, range(2), 1))
        """
    for workers, engine, expected in (
        (1, "processes", False),
        (2, "ray", False),
        (2, "processes", True),
    ):
        announce = f"Engine.announce(MachineConfig(workers={workers}, engine={engine!r}))"
        assert _python(script.format(announce=announce)) == f"{expected} {expected}"


def has_pytorch(_: int) -> bool:
    return "torch" in sys.modules
