from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from client.site import Site
from client.state import SiteState
from client.testing import evaluate
from echofm_core.contract import ENCODER, HEADS, STF_NET, Action, Instruction, Phase
from echofm_core.data.manifest import load_manifest, save_manifest, validate
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import to_arrays
from echofm_core.runtime.errors import FederationError, ManifestError, StoreError
from simulations.engine import SiteSettings
from tests.federation.small import TRAIN, build_sites, small_plan


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    torch.set_num_threads(1)
    return build_sites(tmp_path_factory.mktemp("site"), ("alpha",))[0]


@pytest.fixture(scope="module")
def site(built: SiteSettings) -> Site:
    return Site.open(_config(built), small_plan())


def _config(built: SiteSettings, **changes: str) -> dict[str, str | int | float | bool]:
    config = {"site": "alpha", "manifest": str(built.manifest), "store": str(built.store)}
    return {**config, "threads": 1, **changes}


def test_a_site_describes_itself_in_counts(site: Site) -> None:
    """Four training patients with EF 35, 45, 55, 65; two test patients; no stenosis grades."""
    about = site.describe()
    assert (about.site, about.train_clips, about.train_patients) == ("alpha", 4, 4)
    assert about.labels == {"ef": 4, "reduced_ef": 4}
    assert about.test_labels == {"ef": 2, "reduced_ef": 2}
    assert about.quarantined == 0


def test_views_hold_for_fine_tuning_and_test_only(site: Site) -> None:
    """All its clips are A4C; a plan for PLAX still pre-trains on them."""
    plan = small_plan(protocol={"views": ["PLAX"]})
    site = replace(site, views=plan.protocol.views)
    about = site.describe()
    assert about.train_clips == TRAIN["alpha"]
    assert about.labels == {} and about.test_labels == {}
    assert len(site.train_clips(Phase.PRETRAIN)) == TRAIN["alpha"]
    assert len(site.train_clips(Phase.FINETUNE)) == 0
    assert len(site.test_clips()) == 0


def test_test_patients_are_never_trained_on(site: Site) -> None:
    trained = {
        patient for phase in Phase for patient in site.train_clips(phase).manifest["patient_id"]
    }
    tested = set(site.test_clips().manifest["patient_id"])
    assert len(trained) == 4 and len(tested) == 2 and not trained & tested


def test_patients_of_a_phase_are_those_it_may_draw(site: Site) -> None:
    only_grades = small_plan(finetune={"tasks": ["as_grade"]})
    assert site.patients_by_phase() == {Phase.PRETRAIN: 4, Phase.FINETUNE: 4}
    site = replace(site, finetune=only_grades.finetune)
    assert site.patients_by_phase() == {Phase.PRETRAIN: 4, Phase.FINETUNE: 0}


def test_a_share_of_labels_is_what_a_site_trains_on_and_counts(built: SiteSettings) -> None:
    """Half of four patients; pre-training sees all, and the test keeps its labels."""
    site = Site.open(_config(built), small_plan(finetune={"label_fraction": 0.5}))
    about = site.describe()
    assert (about.train_clips, about.train_patients) == (4, 4)
    assert about.labels == {"ef": 2, "reduced_ef": 2}
    assert about.test_labels == {"ef": 2, "reduced_ef": 2}
    assert site.patients_by_phase() == {Phase.PRETRAIN: 4, Phase.FINETUNE: 2}
    assert len(site.train_clips(Phase.FINETUNE)) == 2


def test_the_fewest_patients_of_a_policy_are_counted_among_those_whose_labels_are_used(
    built: SiteSettings,
) -> None:
    """Three are wanted behind a label: all four suffice, half of them do not."""
    for share, labels in ((1.0, {"ef": 4, "reduced_ef": 4}), (0.5, {})):
        plan = small_plan(finetune={"label_fraction": share})
        assert Site.open(_config(built), plan, min_patients=3).describe().labels == labels


def test_a_sites_rows_are_its_own_whatever_the_manifest_calls_them(
    built: SiteSettings, tmp_path: Path
) -> None:
    """Empty, as `echofm data index` leaves the column, or another name: scored as this site's."""
    plan = small_plan()
    model = to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS])
    question = Instruction(
        action=Action.EVALUATE, round=0, plan="", plan_hash="", run="run", weights=model
    )
    found = []
    for column in (None, "cath lab"):
        manifest = load_manifest(built.manifest).assign(site=column)
        path = tmp_path / f"{column}.parquet"
        save_manifest(validate(manifest), path)
        site = Site.open(_config(built, manifest=str(path)), plan)
        assert site.describe().test_labels == {"ef": 2, "reduced_ef": 2}
        found.append(evaluate(site, plan, question, SiteState(tmp_path, "run")))
    assert str(found[0]) == str(found[1])  # NaN does not equal itself
    assert found[0].site == "alpha" and found[0].patients == {"ef": 2, "reduced_ef": 2}
    assert "federated/ef/mae" in found[0].scores


def test_without_a_split_the_plan_cuts_by_patient(built: SiteSettings, tmp_path: Path) -> None:
    """Six patients, a third for testing: two test, four train; the same in every message."""
    path = tmp_path / "manifest.parquet"
    save_manifest(validate(load_manifest(built.manifest).assign(split=None)), path)
    plan = small_plan(protocol={"test_fraction": 1 / 3, "validation_fraction": 0.0})
    sites = [Site.open(_config(built, manifest=str(path)), plan) for _ in range(2)]
    assert len(sites[0].train_clips(Phase.PRETRAIN)) == 4
    assert len(sites[0].test_clips()) == 2
    assert sites[0].manifest.equals(sites[1].manifest)


def test_every_message_has_the_split_of_its_own_plan(built: SiteSettings, tmp_path: Path) -> None:
    """One process answers them all: half of six patients for testing, by three seeds; then one."""
    path = tmp_path / "manifest.parquet"
    save_manifest(validate(load_manifest(built.manifest).assign(split=None)), path)

    def tested(share: float, seed: int) -> tuple[str, ...]:
        cut = small_plan(protocol={"test_fraction": share, "validation_fraction": 0.0})
        plan = cut.model_copy(update={"seed": seed})
        site = Site.open(_config(built, manifest=str(path)), plan)
        return tuple(site.test_clips().manifest["patient_id"])

    drawn = [tested(0.5, seed) for seed in (1, 2, 3)]
    assert {len(patients) for patients in drawn} == {3} and len(set(drawn)) > 1
    assert len(tested(1 / 6, 1)) == 1


def test_files_that_change_between_two_messages_are_read_again(
    built: SiteSettings, tmp_path: Path
) -> None:
    """One process answers both; what one site was given stays as it was, whatever it does to it."""
    clips, path = load_manifest(built.manifest), tmp_path / "alpha.parquet"
    save_manifest(clips, path)
    config = _config(built, manifest=str(path))
    before = Site.open(config, small_plan())
    before.manifest.loc[:, "view"] = "PLAX"
    assert Site.open(config, small_plan()).manifest["view"].tolist() == clips["view"].tolist()
    nobodys = tmp_path / "nobodys.parquet"
    save_manifest(clips.assign(site=None), nobodys)
    for name in ("alpha", "beta"):
        opened = Site.open(_config(built, manifest=str(nobodys), site=name), small_plan())
        assert set(opened.manifest["site"]) == {name}
    save_manifest(clips.iloc[1:], path)
    assert len(Site.open(config, small_plan()).manifest) == len(clips) - 1
    stores = tmp_path / "stores"
    shutil.copytree(built.store, stores)
    config = _config(built, store=str(stores))
    assert len(Site.open(config, small_plan()).store) == len(clips)
    again = stores / "again"
    shutil.move(next(stores.iterdir()), again)
    assert Site.open(config, small_plan()).store.folder == again
    next(again.rglob("*.npy")).unlink()
    with pytest.raises(StoreError, match="damaged"):
        Site.open(config, small_plan())


def test_what_is_missing_is_named(built: SiteSettings, tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="lacks `manifest`; start the SuperNode"):
        Site.open(_config(built, manifest=""), small_plan())
    with pytest.raises(ManifestError, match="does not exist"):
        Site.open(_config(built, manifest=str(tmp_path / "none.parquet")), small_plan())
    with pytest.raises(StoreError):
        Site.open(_config(built, store=str(tmp_path)), small_plan())
