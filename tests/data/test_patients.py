"""MIMIC-IV-ECHO and its LVVOL subset hold the same people: one split, one site, one count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from client.site import patients
from echofm_core.data.manifest import check_patients_disjoint, manifest_from_rows
from echofm_core.data.patients import patient_keys
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from echofm_core.runtime.errors import ManifestError
from echofm_core.training.steps.job import patient_numbers
from simulations.protocols.assign import assign_sites

#: Rules that can place these people.
PLACED = sorted(set(ProtocolName) - {ProtocolName.QUALITY, ProtocolName.FEDCVD})
MIMIC, LVVOL = "mimic_iv_echo", "mimic_lvvol_a4c"


def manifest(archive: int = 60, subset: int = 40) -> pd.DataFrame:
    """The subset's people are the archive's last; EchoNet has somebody of the same number."""
    everybody = [(MIMIC, number) for number in range(archive)]
    everybody += [(LVVOL, archive - 1 - number) for number in range(subset)]
    everybody += [("echonet_dynamic", number) for number in range(10)]
    rows = [
        {"dataset": dataset, "patient_id": str(number), "clip_id": f"{dataset}-{number}",
         "path": "/none", "ef": 20.0 + number, "model": f"scanner {number % 2}",
         "fps": 30.0 + len(dataset) + number, "care_setting": f"ward {number % 3}",
         "view": ["A4C", "PLAX"][number % 2]}
        for dataset, number in everybody
    ]  # fmt: skip
    return manifest_from_rows(rows)


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("seed", range(3))
def test_nobody_trains_in_one_and_tests_in_the_other(name: str, seed: int) -> None:
    """By plain dictionaries, on patient numbers alone."""
    config = ProtocolConfig(name=ProtocolName(name), clients=3, alpha=5.0, test_fraction=0.3)
    placed = assign_sites(manifest(), config, seed)
    homes: dict[str, set[tuple[str, str]]] = {}
    for row in placed[placed["dataset"].isin([MIMIC, LVVOL])].to_dict("records"):
        homes.setdefault(row["patient_id"], set()).add((row["site"], row["split"]))
    assert len(homes) == 60
    assert all(len(home) == 1 for home in homes.values())
    assert {split for home in homes.values() for _, split in home} >= {"train", "test"}


def test_one_hospital_is_one_site() -> None:
    placed = assign_sites(manifest(), ProtocolConfig(), 0)
    assert set(placed["site"]) == {MIMIC, "echonet_dynamic"}


def test_they_are_counted_once_and_others_are_others() -> None:
    """60 people of the archive, 10 of EchoNet with the same numbers."""
    table = manifest()
    assert patient_keys(table).nunique() == patients(table) == 70
    assert len(np.unique(patient_numbers(table))) == 70


def test_a_person_in_two_splits_is_refused_across_the_archive() -> None:
    table = manifest(1, 1)
    table["split"] = ["train", "test"] + ["train"] * 10
    with pytest.raises(ManifestError, match="1 patient is in more than one split"):
        check_patients_disjoint(table)
