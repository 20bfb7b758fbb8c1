"""A run uses the data of its first message; what has changed since is said, and never reported."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from client.audit import FILE as AUDIT
from client.audit_report import lines
from client.run_data import FILE
from client.withdrawn import withdraw_patients
from echofm_core.contract import Action, SiteDescription, SiteResult, Update
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.data.patients import patient_keys
from echofm_core.data.store.build import build_store
from echofm_core.runtime.chained_log import ChainedLog
from server.wire import read_reply
from simulations.engine import SiteSettings
from simulations.flower_private import become_server
from tests.federation.small import build_sites, small_plan
from tests.federation.test_hostile_server import Hospital, refusal

PLAN = small_plan(pretrain={"rounds": 0}, finetune={"rounds": 3, "tasks": ["ef"]})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("data"), ("alpha",))[0]


@pytest.fixture
def site(built: SiteSettings, tmp_path: Path) -> Hospital:
    """Clips alpha-c0 to c3 train, c4 and c5 test; the run begins without c3, which comes later."""
    paths = {"manifest": tmp_path / "manifest.parquet", "store": tmp_path / "stores"}
    shutil.copytree(built.store, paths["store"])
    hospital = Hospital(SiteSettings(name="alpha", state=tmp_path, **paths), tmp_path)
    rows = load_manifest(built.manifest)
    save_manifest(rows[rows["clip_id"] != "alpha-c3"], paths["manifest"])
    hospital.allow(min_patients=1)
    return hospital


def change(site: Hospital, built: SiteSettings, **labels: dict[str, Any]) -> None:
    """The whole manifest, with columns of some clips changed: ``ef={"alpha-c0": 12.0}``."""
    rows = load_manifest(built.manifest).set_index("clip_id", drop=False)
    for column, changes in labels.items():
        for clip, value in changes.items():
            rows.loc[clip, column] = value
    save_manifest(rows.reset_index(drop=True), site.built.manifest)


def kept(site: Hospital) -> pd.DataFrame:
    return pd.read_parquet(site.folder / PLAN.run_name() / FILE)


def describe(site: Hospital) -> SiteDescription:
    return read_reply(site.ask(PLAN, Action.DESCRIBE), SiteDescription)


def counts(site: Hospital, number: int) -> dict[str, int]:
    return dict(read_reply(site.ask(PLAN, Action.FINETUNE, round=number), Update).counts)


def said(site: Hospital) -> str:
    """The last line of the audit."""
    return list(lines(ChainedLog(site.folder / AUDIT).records))[-1]


def test_no_more_is_reported_than_was_described_and_splits_stay(
    site: Hospital, built: SiteSettings
) -> None:
    assert describe(site).train_clips == 3
    first = counts(site, 1)
    change(
        site, built, split={"alpha-c4": "train"}, ef={"alpha-c0": 12.0}, view={"alpha-c1": "PLAX"}
    )
    assert counts(site, 2) == first == {"encoder": 3, "stf_net": 3, "heads.ef": 3}
    assert describe(site).train_clips == 3, "as before: the run has trained"
    words = "3 clips changed patient, split, view or label, 0 are gone and 1 is new"
    assert words in said(site) and words in (site.folder / "site.log").read_text()
    assert "site.log" not in said(site) and "alpha-c" not in said(site)
    result = read_reply(site.ask(PLAN, Action.EVALUATE), SiteResult)
    assert result.patients == {"ef": 2}, "the one who would train now is tested still"
    tested = pd.read_parquet(site.folder / PLAN.run_name() / "predictions.parquet")
    assert set(tested["clip_id"]) == {"alpha-c4", "alpha-c5"}
    file = site.folder / PLAN.run_name() / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and "path" not in kept(site)


def test_a_run_that_has_not_trained_here_begins_with_the_data_of_now(
    site: Hospital, built: SiteSettings
) -> None:
    assert describe(site).train_clips == 3
    change(site, built)
    assert describe(site).train_clips == 4 and "new" not in said(site)
    assert counts(site, 1)["encoder"] == 4


def test_a_clip_that_could_not_be_used_at_first_joins_the_next_run(
    site: Hospital, built: SiteSettings
) -> None:
    change(site, built)
    rows, store = load_manifest(built.manifest), site.built.store / "echonet_dynamic"
    shutil.rmtree(store)
    build_store(rows[rows["clip_id"] != "alpha-c0"], store, PLAN.data)
    about = describe(site)
    assert (about.train_clips, about.quarantined) == (3, 1)
    assert counts(site, 1)["encoder"] == 3
    build_store(rows, store, PLAN.data)
    about = describe(site)
    assert (about.train_clips, about.quarantined) == (3, 1)
    assert counts(site, 2)["encoder"] == 3


def test_a_run_of_before_there_were_classes_of_stenosis_goes_on(
    site: Hospital, built: SiteSettings
) -> None:
    """Its rows have grades alone: the classes that follow from these are no change."""
    change(site, built, as_grade={"alpha-c0": 3}, as_class={"alpha-c0": 2})
    assert counts(site, 1)["encoder"] == 4
    file = site.folder / PLAN.run_name() / FILE
    rows = kept(site)
    earlier = rows.drop(columns="as_class")
    earlier.attrs = rows.attrs
    earlier.to_parquet(file)
    assert counts(site, 2)["encoder"] == 4 and "changed" not in said(site)


def test_clips_and_patients_that_go_are_left_out_and_fewer_is_fine(
    site: Hospital, built: SiteSettings
) -> None:
    """c0 now belongs to another patient, who withdraws: whoever it is, it is left out."""
    assert counts(site, 1)["encoder"] == 3
    rows = load_manifest(built.manifest)
    rows = rows[rows["clip_id"] != "alpha-c2"]
    rows.loc[rows["clip_id"] == "alpha-c0", "patient_id"] = "alpha-p9"
    save_manifest(rows, site.built.manifest)
    assert counts(site, 2)["encoder"] == 2 and "1 is gone" in said(site)
    key = patient_keys(rows[rows["patient_id"] == "alpha-p9"]).iloc[0]
    withdraw_patients(site.folder, [[key]])
    assert counts(site, 3)["encoder"] == 1


def test_a_site_that_wants_no_change_refuses_without_saying_how_many(
    site: Hospital, built: SiteSettings
) -> None:
    site.allow(min_patients=1, data_changes="refuse")
    assert counts(site, 1)["encoder"] == 3
    change(site, built)
    assert counts(site, 2)["encoder"] == 3, "new clips are none"
    change(site, built, ef={"alpha-c0": 12.0})
    sentence = refusal(site.ask(PLAN, Action.FINETUNE, round=3))
    assert "data_changes = refuse" in sentence and not any(map(str.isdigit, sentence[40:]))
    assert "1 clip changed" in said(site), "the site itself learns it"
    change(site, built)
    assert counts(site, 3)["encoder"] == 3


def test_fewer_patients_asked_for_later_report_no_more_than_was_described(
    site: Hospital, built: SiteSettings
) -> None:
    """Of three training patients one has an EF at first, and one may be reported only later."""
    change(site, built, ef={"alpha-c0": None, "alpha-c1": None, "alpha-c2": None})
    site.allow(min_patients=2)
    assert describe(site).labels == {}
    assert "EmptySiteError" in refusal(site.ask(PLAN, Action.FINETUNE, round=1))
    site.allow(min_patients=1)
    assert describe(site).labels == {}
    assert json.loads((site.folder / AUDIT).read_text().splitlines()[-1])["outcome"] == "answered"
