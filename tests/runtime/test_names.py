"""Folders of sites, whatever the sites are called."""

import re
import unicodedata
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.names import folder_names
from simulations.export_split import export_split
from tests.simulations.split_cases import names, read, small

HOSTILE = [
    "../../etc/passwd", "/abs", "..", ".", " ", "a/b", "a\\b", "A", "a", "a.", "con", "NUL", "com1",
    "all", "default", "naïve", unicodedata.normalize("NFD", "naïve"), "x" * 300, "tab\tname",
    "new\nline", "~", "$(reboot)", "*", "site?", "-rf", "no", "1e3", "a-b-0123456789abcdef",
]  # fmt: skip


def test_hostile_site_names_become_safe_folders(tmp_path: Path) -> None:
    table = pd.concat([load_manifest(small(tmp_path)).head(1)] * len(HOSTILE), ignore_index=True)
    table["site"] = HOSTILE
    table["patient_id"] = table["clip_id"] = [f"p{index}" for index in range(len(HOSTILE))]
    save_manifest(table, tmp_path / "hostile.parquet")
    inside = tmp_path / "inside"
    config = ProtocolConfig(min_patients=1)
    summary = export_split(tmp_path / "hostile.parquet", config, 0, inside / "out").summary
    assert sorted(summary["sites"]) == sorted(HOSTILE)
    assert names(inside) == ["out"]
    for site, part in summary["sites"].items():
        assert re.fullmatch("[a-z0-9][a-z0-9_-]{0,47}", part["folder"])
        assert part["folder"] not in ("con", "nul", "com1", "all", "default")
        assert [row["site"] for row in read(inside / f"out/sites/{part['folder']}/train.csv")] == [
            site
        ]
    assert len(list((inside / "out/sites").iterdir())) == len(HOSTILE)


@given(st.lists(st.text(min_size=1).filter(str.strip), unique=True, max_size=20))
def test_two_sites_never_share_a_folder(sites: list[str]) -> None:
    sites = [site.encode(errors="replace").decode() for site in sites]
    folders = folder_names(dict.fromkeys(sites))
    again = folder_names(folders.values())
    assert len({folder.casefold() for folder in folders.values()}) == len(folders)
    # A site called like the folder of another one must not get that folder.
    for site, folder in folders.items():
        assert again[folder] != folder or site == folder
