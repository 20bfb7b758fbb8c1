"""Sites that misbehave: each is named in the journal with its reason, and the round goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import Score
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError
from echofm_core.training.objectives import finetune
from echofm_core.training.objectives.losses import Losses
from server.evaluation import evaluate
from server.events import ignore
from server.rounds import run_federation
from server.run import Run
from server.sites import gather_sites
from simulations.engine import Engine, SiteSettings
from tests.federation.small import small_plan, with_states
from tests.federation.toy import change
from tests.federation.toy_phase import START, folded, settings, train
from tests.federation.wiretap import federate

TOY = "tests.federation.toy:app"


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_updates_are_refused_and_the_others_are_averaged(workers: int, tmp_path: Path) -> None:
    """a and b have equal clips: every number moves by the mean of their two changes."""
    names = ("a", "b", "nan", "raise", "shape")
    with Engine(workers, client_app=TOY) as engine:
        grid = engine.grid(settings(names, tmp_path))
        weights, entries = train(grid, names, tmp_path, rounds=1)
    assert set(entries[0].sites) == {"a", "b"}
    assert entries[0].refused["raise"].startswith("the site answered with an error: error 70, ")
    assert {site: why for site, why in entries[0].refused.items() if site != "raise"} == {
        "nan": "the update holds values that are not finite.",
        "shape": "array encoder.a has shape (3, 3), expected (3, 4).",
    }
    for name, array in START.items():
        moved = (change("a", 1, name, array.shape) + change("b", 1, name, array.shape)) / 2
        np.testing.assert_allclose(weights[name], array + moved, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_sites_are_folded_in_name_order_in_one_process_too(workers: int, tmp_path: Path) -> None:
    names = ("c", "a", "b")
    assert digest(folded(("a", "b", "c"))) != digest(folded(names))
    with Engine(workers, client_app=TOY) as engine:
        _, entries = train(engine.grid(settings(names, tmp_path)), names, tmp_path, rounds=1)
    assert list(entries[0].sites) == ["a", "b", "c"]
    assert entries[0].digest == digest(folded(("a", "b", "c")))


def test_bad_sites_leave_no_trace_in_the_bits(tmp_path: Path) -> None:
    with Engine(1, client_app=TOY) as engine:
        names = ("a", "b", "nan", "shape")
        _, among_bad = train(engine.grid(settings(names, tmp_path)), names, tmp_path)
        names = ("a", "b")
        _, alone = train(engine.grid(settings(names, tmp_path)), names, tmp_path)
    assert among_bad[-1].digest == alone[-1].digest


def test_a_late_site_misses_rounds_until_it_is_free(tmp_path: Path) -> None:
    names = ("a", "late", "z")
    with Engine(2, client_app=TOY) as engine:
        started = ("s1", "s2", "s3", "s4")  # workers start slowly on a busy machine
        train(engine.grid(settings(started, tmp_path)), started, tmp_path, rounds=1)
        grid = engine.grid(settings(names, tmp_path))
        _, entries = train(grid, names, tmp_path, deadline_seconds=3)
    assert set(entries[0].sites) == {"a", "z"}
    assert entries[0].refused == {"late": "no reply within 3 s."}
    assert entries[1].refused == {"late": "still busy with an earlier round."}


def test_an_update_beyond_the_norm_bound_is_refused(tmp_path: Path) -> None:
    """b moves 17 numbers by draws of the normal distribution, about 4 together; still by none."""
    norm = sum((change("b", 1, name, array.shape) ** 2).sum() for name, array in START.items())
    bound, names = float(norm**0.5) - 0.01, ("b", "still")
    with Engine(1, client_app=TOY) as engine:
        grid = engine.grid(settings(names, tmp_path))
        _, entries = train(grid, names, tmp_path, rounds=1, max_update_norm=bound)
        assert set(entries[0].sites) == {"still"}
        assert f"from the global model, the bound is {bound:.4g}" in entries[0].refused["b"]
        _, entries = train(grid, names, tmp_path, rounds=1, max_update_norm=bound + 0.02)
        assert set(entries[0].sites) == {"b", "still"}


def test_no_usable_update_ends_the_run_with_one_sentence(tmp_path: Path) -> None:
    names = ("nan", "raise")
    with (
        Engine(1, client_app=TOY) as engine,
        pytest.raises(FederationError, match=r"round 1 has 0 usable updates.*go on with --resume"),
    ):
        train(engine.grid(settings(names, tmp_path)), names, tmp_path)


def test_results_that_cannot_be_are_refused_and_the_others_count(tmp_path: Path) -> None:
    names = ("a", "claims", "honest", "inf", "many", "negative", "othermodel")
    plan = small_plan(finetune={"tasks": ["ef"]})
    with Engine(1, client_app=TOY) as engine:
        grid = engine.grid(settings(names, tmp_path))
        run = Run(grid, plan, tmp_path)
        results, failed = evaluate(run, START, gather_sites(run, ignore))
    assert [result.site for result in results] == ["a", "honest"]
    assert results[0].patients == {"ef": 10} and results[0].plan_hash == plan.digest()
    assert str(results[0].scores["federated/ef/mae"]) == str(Score(value=0.5, low=0.4, high=0.6))
    told = {
        "claims": "site is 'a', expected 'claims'",
        "inf": "score federated/ef/mae is not finite",
        "many": "the result is malformed: it holds 200028 numbers, at most 10000 are taken",
        "negative": "it has -3 test patients for ef, but described 10 clips",
        "othermodel": f"digest of the tested weights is '{'0' * 64}'",
    }
    assert set(failed) == set(told)
    for site, sentence in told.items():
        assert failed[site].startswith(sentence)


def test_a_broken_site_does_not_stop_the_federation_and_tells_no_name(
    built_sites: list[SiteSettings], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """beta's clip store loses its frames after it described itself: training there fails.

    Its files are named after patients (Doe^John); neither they nor any path of the site may reach
    the server, its journal or its output. The site's own log has the traceback.
    """
    beta = _copy(built_sites[1], tmp_path / "broken-Doe^John")
    sites = [*with_states([built_sites[0]], tmp_path), beta]
    plan = small_plan(pretrain={"rounds": 0}, finetune={"rounds": 1})
    run = tmp_path / "run"

    def break_beta(event: object) -> None:
        for frames in beta.store.rglob("*.npy"):
            frames.unlink()

    with Engine(1) as engine:
        result = run_federation(engine.grid(sites), plan, run, on_event=break_beta)
    entry = json.loads((run / "journal" / "finetune-0001.json").read_text())
    assert set(entry["sites"]) == {"alpha"} and set(entry["refused"]) == {"beta"}
    assert "StoreError" in entry["refused"]["beta"]
    assert [site.site for site in result.site_results] == ["alpha"]
    told = " ".join(path.read_text() for path in run.rglob("*.json")) + "".join(capfd.readouterr())
    assert "Doe" not in told and str(tmp_path) not in told
    assert "Traceback" in (beta.state / "site.log").read_text()
    assert plan.run_name() in {path.name for path in beta.state.iterdir()}


def _copy(site: SiteSettings, folder: Path) -> SiteSettings:
    """The site moved to a folder whose name must not leave it."""
    shutil.copytree(site.store, folder / "stores")
    return SiteSettings(
        name=site.name, manifest=site.manifest, store=folder / "stores", state=folder / "state"
    )


def test_a_loss_that_is_not_finite_is_told_from_other_faults(
    built_sites: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the fault of a study's setting; a site that fails otherwise is not."""
    real = finetune.supervised

    def lost(*arguments: object) -> Losses:
        losses = real(*arguments)
        return replace(losses, values=losses.values * float("nan"))

    monkeypatch.setattr(finetune, "supervised", lost)
    plan = small_plan(pretrain={"rounds": 0}, finetune={"max_skipped_steps": 0})
    with pytest.raises(FederationError) as caught:
        federate(built_sites, plan, tmp_path / "lost")
    assert len(caught.value.reasons) == len(built_sites) and caught.value.diverged
    for names, expected in ((("nan",), True), (("nan", "raise"), False)):
        with Engine(client_app=TOY) as engine, pytest.raises(FederationError) as caught:
            grid = engine.grid(settings(names, tmp_path / names[-1]))
            train(grid, names, tmp_path / names[-1], rounds=1)
        assert caught.value.diverged == expected, names
