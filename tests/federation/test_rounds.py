from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.contract import group_of
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load, load_metadata
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError, ResumeError
from server.ending import FederationResult, RunOptions
from server.evaluation import evaluate_sites
from server.events import Event, EventKind, ignore
from server.rounds import pretrained_encoder, run_federation
from server.run import Run
from server.sites import gather_sites
from simulations.engine import Engine, SiteSettings
from tests.federation.remote import RemoteGrid
from tests.federation.small import NAMES, TRAIN, small_plan, with_states


def federate(
    sites: list[SiteSettings], plan: Plan, folder: Path, *, resume: bool = False
) -> tuple[FederationResult, list[Event]]:
    events: list[Event] = []
    with Engine() as engine:
        grid = engine.grid(with_states(sites, folder / "state"))
        result = run_federation(grid, plan, folder / "run", resume=resume, on_event=events.append)
    return result, events


@pytest.fixture(scope="module")
def done(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FederationResult, list[Event]]:
    """Both phases over three institutions, in this process."""
    folder = tmp_path_factory.mktemp("done")
    result, events = federate(built_sites, small_plan(), folder)
    return folder, result, events


Done = tuple[Path, FederationResult, list[Event]]


def test_the_run_folder_holds_one_schema(done: Done) -> None:
    folder, result, _ = done
    run = folder / "run"
    names = ["finetune-0001", "finetune-0002", "pretrain-0001", "pretrain-0002"]
    assert sorted(path.stem for path in (run / "journal").iterdir()) == names
    assert sorted(path.stem for path in (run / "checkpoints").iterdir()) == names
    assert (run / "plan.toml").exists() and not (run / "scratch").exists()
    model = run / "model" / "model.safetensors"
    assert digest(load(model)) == result.digest == load_metadata(model)["digest"]
    assert load_metadata(model)["plan_hash"] == small_plan().digest()
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]


def test_the_journal_names_who_counted_with_what(done: Done) -> None:
    folder, result, _ = done
    first = json.loads((folder / "run" / "journal" / "pretrain-0001.json").read_text())
    assert set(first["sites"]) == set(NAMES) and first["refused"] == {}
    assert {name: part["counts"]["encoder"] for name, part in first["sites"].items()} == TRAIN
    assert "decoder" not in first["sites"]["alpha"]["counts"], "the decoder stays at the site"
    last = json.loads((folder / "run" / "journal" / "finetune-0002.json").read_text())
    assert last["digest"] == result.digest and last["plan_hash"] == small_plan().digest()
    heads = {name: set(part["counts"]) for name, part in last["sites"].items()}
    assert heads["alpha"] == {"encoder", "stf_net", "heads.ef", "heads.reduced_ef"}
    assert heads["gamma"] == {"encoder", "stf_net", "heads.as_grade"}


def test_metrics_are_one_long_table(done: Done) -> None:
    folder, result, _ = done
    table = pd.read_parquet(folder / "run" / "metrics.parquet")
    pd.testing.assert_frame_equal(table, result.metrics)
    assert list(table.columns) == ["arm", "phase", "round", "site", "metric", "value"]
    assert set(table["arm"]) == {"federated"}
    loss = table[(table["metric"] == "loss") & (table["phase"] == "pretrain")]
    assert len(loss) == 2 * len(NAMES) and np.isfinite(loss["value"]).all()
    tested = table[table["phase"] == "evaluate"]
    assert {"ef/mae", "ef/mae/low", "ef/patients"} <= set(tested["metric"])
    assert set(tested.loc[tested["metric"] == "ef/mae", "site"]) == {"alpha", "beta"}


def test_events_tell_the_story_in_order(done: Done) -> None:
    _, result, events = done
    assert [event.kind for event in events] == [
        EventKind.DESCRIBED,
        *[EventKind.ROUND] * 4,
        EventKind.EVALUATED,
    ]
    assert sum(event.round_done for event in events) == 4
    assert result.digest[:12] in events[-2].line()


def test_fine_tuning_starts_from_the_pretrained_encoder(done: Done) -> None:
    folder, _, _ = done
    encoder = pretrained_encoder(folder / "run", small_plan())
    assert {group_of(name) for name in encoder} == {"encoder"}
    kept = load(folder / "run" / "checkpoints" / "pretrain-0002.safetensors")
    assert digest(kept) == digest(encoder)


def test_predictions_stay_at_the_site(done: Done) -> None:
    """Only numbers of the whole test split travel; the table of patients lies in the state."""
    folder, result, _ = done
    for name in NAMES:
        table = pd.read_parquet(
            folder / "state" / name / small_plan().run_name() / "predictions.parquet"
        )
        assert set(table["site"]) == {name} and len(table)
        assert set(table["patient_id"]) == {f"{name}-p{TRAIN[name] + number}" for number in (0, 1)}
    told = json.loads((folder / "run" / "evaluation.json").read_text())
    assert "-p" not in json.dumps(told["sites"]), "patient ids are alpha-p0 and so on"
    assert [entry.site for entry in result.site_results] == list(NAMES)


def test_the_order_of_the_nodes_does_not_matter(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = small_plan(pretrain={"rounds": 1}, finetune={"rounds": 0})
    there, _ = federate(built_sites, plan, tmp_path / "there")
    back, _ = federate(built_sites[::-1], plan, tmp_path / "back")
    assert there.digest == back.digest


def test_a_finished_run_goes_on_to_the_same_end(
    done: Done, built_sites: list[SiteSettings]
) -> None:
    """Nothing is trained again: all four rounds are replayed from the journal."""
    folder, result, _ = done
    again, events = federate(built_sites, small_plan(), folder, resume=True)
    assert again.digest == result.digest
    assert [event.replayed for event in events if event.round_done] == [True] * 4


def test_a_run_folder_is_not_overwritten(done: Done, built_sites: list[SiteSettings]) -> None:
    with pytest.raises(ResumeError, match="go on with --resume"):
        federate(built_sites, small_plan(), done[0])
    with pytest.raises(ResumeError, match="is of a plan with hash"):
        federate(built_sites, small_plan(pretrain={"rounds": 3}), done[0], resume=True)


def test_a_shared_decoder_travels_and_is_averaged(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = small_plan(pretrain={"rounds": 1, "share_decoder": True}, finetune={"rounds": 0})
    result, _ = federate(built_sites, plan, tmp_path)
    assert {group_of(name) for name in result.weights} == {"encoder", "decoder"}
    assert not list((tmp_path / "state").rglob("decoder"))


@pytest.mark.parametrize("wire", ["fp16", "bf16"])
def test_half_precision_on_the_wire_stays_close(
    wire: str, done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """11 or 8 bits are kept; two rounds of AdamW at these rates move weights by 1e-3 each."""
    result, _ = federate(built_sites, small_plan(federation={"wire": wire}), tmp_path)
    assert result.digest != done[1].digest
    gaps = [np.abs(result.weights[k] - v).max() for k, v in done[1].weights.items()]
    assert max(gaps) < 2e-2


def test_fedprox_holds_the_sites_nearer(built_sites: list[SiteSettings], tmp_path: Path) -> None:
    """A pull this strong must make every site's change smaller than without it."""
    finetune = {"rounds": 0}
    pretrain = {"rounds": 1, "local_epochs": 3}
    free, _ = federate(
        built_sites, small_plan(pretrain=pretrain, finetune=finetune), tmp_path / "free"
    )
    federation = {"aggregation": "fedprox", "proximal_mu": 100.0}
    held, _ = federate(
        built_sites,
        small_plan(pretrain=pretrain, finetune=finetune, federation=federation),
        tmp_path / "held",
    )
    norms = [
        result.metrics.query("metric == 'update_norm'").set_index("site")["value"]
        for result in (free, held)
    ]
    assert (norms[1] < norms[0]).all()


def test_a_model_can_be_tested_on_other_sites(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites[:1], tmp_path))
        results = evaluate_sites(grid, small_plan(), done[1].weights)
    assert str(results) == str([done[1].site_results[0]])  # NaN does not equal itself
    assert (tmp_path / "alpha" / small_plan().run_name() / "predictions.parquet").exists()


def test_a_quorum_of_training_is_none_of_a_test(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """The model of all sites but one is tested at that one alone, however many a round needs."""
    plan = small_plan(federation={"min_sites": 2})
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites[:1], tmp_path))
        (result,) = evaluate_sites(grid, plan, done[1].weights)
    assert str(result.scores) == str(done[1].site_results[0].scores)


def test_phases_that_nobody_can_train_are_said_before_they_start(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """gamma grades stenosis and has no EF."""
    plan = small_plan(pretrain={"rounds": 0}, finetune={"rounds": 1, "tasks": ["ef"]})
    with pytest.raises(FederationError, match="no site of gamma has training labels for ef"):
        federate(built_sites[2:], plan, tmp_path)
    plan = small_plan(protocol={"views": ["PLAX"]}, pretrain={"rounds": 0})
    with pytest.raises(FederationError, match="no site of alpha, beta, gamma has training labels"):
        federate(built_sites, plan, tmp_path / "views")


def test_a_task_that_is_not_learnt_is_said_in_journal_events_and_result(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """At a rate of 1e-9 nothing moves: of the sites' losses only the windows change. Gone on with,
    the finished run says the same."""
    plan = small_plan(
        pretrain={"rounds": 0},
        finetune={"rounds": 3, "learning_rate": 1e-9, "tasks": ["as_grade"], "augment": False},
    )
    result, events = federate(built_sites, plan, tmp_path)
    (warned,) = [event for event in events if event.kind is EventKind.WARNED]
    assert list(warned.warnings) == ["gamma"]
    assert "training loss of as_grade began at" in warned.line()
    entries = [
        json.loads((tmp_path / "run" / "journal" / f"finetune-{number:04d}.json").read_text())
        for number in (1, 2, 3)
    ]
    assert [list(entry["warnings"]) for entry in entries] == [[], [], ["gamma"]]
    assert result.warnings == (f"gamma: {warned.warnings['gamma']}",)
    again, _ = federate(built_sites, plan, tmp_path, resume=True)
    assert again.warnings == result.warnings


def test_sites_that_are_missing_are_named(built_sites: list[SiteSettings], tmp_path: Path) -> None:
    with (
        Engine() as engine,
        pytest.raises(FederationError, match=r"1 site is there .*, delta missing; .* start the"),
    ):
        run_federation(
            engine.grid(with_states(built_sites, tmp_path)),
            small_plan(),
            tmp_path / "run",
            options=RunOptions(members={"alpha": 1, "delta": 2}),
        )


def test_a_node_counts_under_the_name_of_its_key_alone(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Node 1 calls itself alpha, with beta's key; node 3 calls itself gamma, with nobody's."""
    with Engine() as engine:
        run = Run(engine.grid(with_states(built_sites, tmp_path)), small_plan(), tmp_path)
        with pytest.raises(FederationError) as error:
            gather_sites(run, ignore, members={"alpha": 4, "beta": 1})
        assert "it calls itself alpha, and its key is that of beta" in str(error.value)
        assert "it calls itself beta, and its key is that of no admitted site" in str(error.value)
        assert "it calls itself gamma, and its key is that of no admitted site" in str(error.value)
        members = {"alpha": 1, "beta": 2}
        sites = gather_sites(run, ignore, members=members)
    assert {name: site.node for name, site in sites.items()} == members


def test_a_site_that_declines_the_plan_is_not_waited_for(tmp_path: Path) -> None:
    """Its sentence is read; one that is merely absent is waited for all the same."""
    refused: dict[str, str] = {}

    def show(event: Event) -> None:
        refused.update(event.refused)

    run = Run(RemoteGrid({"a": 0.0, "declines": 0.0}), small_plan(), tmp_path)
    members = {"a": 1, "declines": 2}
    assert set(gather_sites(run, show, members=members, wait_seconds=20.0)) == {"a"}
    assert refused == {
        "node 2": "the site answered with an error: error 24, reference 0: not approved here."
    }
    with pytest.raises(FederationError, match=r"absent missing; node 2: .* not approved here"):
        gather_sites(run, ignore, members=members | {"absent": 3}, wait_seconds=0.0)


def test_two_sites_of_one_name_are_refused(built_sites: list[SiteSettings], tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="two nodes call themselves alpha"):
        federate([built_sites[0], built_sites[0]], small_plan(), tmp_path)


def test_a_private_federation_tells_what_it_spent(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Epsilon grows from round to round at each site, and its ledger lies with the site."""
    plan = small_plan(
        pretrain={"rounds": 2},
        finetune={"rounds": 0},
        privacy={"kind": "local", "noise_multiplier": 2.0, "delta": 1e-2, "secure": False},
    )
    result, _ = federate(built_sites[:2], plan, tmp_path)
    spent = result.metrics.query("metric == 'epsilon'").pivot(
        index="site", columns="round", values="value"
    )
    assert list(spent.index) == ["alpha", "beta"]
    assert (spent[1] > 0).all() and (spent[1] < spent[2]).all()
    assert len(list((tmp_path / "state").rglob("privacy-ledger.jsonl"))) == 2


def test_what_cannot_be_done_privately_is_not_done(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """With four patients delta = 0.5 promises nothing: the site refuses, and trains nothing."""
    plan = small_plan(
        pretrain={"rounds": 1},
        finetune={"rounds": 0},
        privacy={"kind": "local", "noise_multiplier": 1.0, "delta": 0.5, "secure": False},
    )
    with pytest.raises(FederationError, match=r"alpha: .*PrivacyError: "):
        federate(built_sites[:1], plan, tmp_path)
    assert not list((tmp_path / "state").rglob("decoder"))
