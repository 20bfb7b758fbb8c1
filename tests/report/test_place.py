"""The report belongs to the core: whoever has a run folder can write it."""

import subprocess
import sys


def test_the_report_loads_without_flower_and_without_the_simulations() -> None:
    code = (
        "import sys, echofm_core.report.page, echofm_core.report.pictures\n"
        "rooms = {name.split('.')[0] for name in sys.modules}\n"
        "print(*sorted(rooms & {'flwr', 'simulations', 'server', 'client'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
