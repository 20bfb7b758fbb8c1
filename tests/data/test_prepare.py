"""What a run reads: the data sets that its plan names, and findings on these alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.data.config import DataConfig
from echofm_core.data.patients import write_secret
from echofm_core.data.prepare import read
from echofm_core.plan.machine import MachineConfig
from tests.data.files import speckle, write_avi


@pytest.mark.parametrize(("datasets", "lost"), [((), 2), (("north",), 1)])
def test_what_other_data_sets_lack_is_not_counted(
    tmp_path: Path, datasets: tuple[str, ...], lost: int
) -> None:
    """Each of two hospitals has a clip, and a file that is no video."""
    for name in ("north", "south"):
        root = tmp_path / name
        root.mkdir()
        write_secret(root / "key")
        (root / "echofm.toml").write_text(f'dataset = "{name}"\nsecret = "key"\n')
        write_avi(root / "a.avi", speckle(10))
        (root / "b.avi").write_text("no video")
    machine = MachineConfig(roots=(str(tmp_path),))
    manifest, findings = read(DataConfig(), machine, datasets)
    assert set(manifest["dataset"]) == set(datasets or ("north", "south"))
    assert findings.quarantined == lost
    assert {item.dataset for item in findings.items} == set(manifest["dataset"])
