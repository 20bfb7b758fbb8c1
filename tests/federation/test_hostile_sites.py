"""Updates that were made to do harm: each is refused by name, and moves no bit of the model."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echofm_core.contract import CONTROL, Phase, Weights
from echofm_core.plan.federation import Aggregation, FederationConfig
from echofm_core.runtime.checksum import digest
from server import pulled_replies, rounds
from server.events import Event, EventKind
from server.journal import Entry
from server.phase import algorithm_of, train_phase
from server.phase_run import Participant, PhaseRun
from server.rounds import run_federation
from simulations.engine import Engine
from tests.federation.remote import RemoteGrid
from tests.federation.small import small_plan
from tests.federation.toy_phase import START, folded, settings, train

TOY = "tests.federation.toy:app"
HONEST = ("a", "b", "c", "z")
#: Site of the toy app -> why its update does not count.
ATTACKS = {
    "bigloss": r"metric loss is 1.7e\+308, legal is -1e\+06 to 1e\+06",
    "counts": "count of encoder is 10{18}, federation.max_clips is 10000000",
    "far": r"is 4\d.* away from what was sent, the bound is \d+.*: 3 times the median",
    "huge": "too far from the global model",
    "infloss": "metric loss is inf",
    "manymetrics": "it holds 50001 numbers, at most 10000",
    "negative": "metric seconds is -1, legal is 0",
    "ownmetric": "metric 'update_norm' is none that a site reports",
    "pathmetric": r"metric '\.\./\.\./x' is none that a site reports",
    "strangetask": r"metric 'loss/\.\./x' is none that a site reports",
}


def trained(names: Sequence[str], folder: Path, **federation: Any) -> tuple[Weights, list[Entry]]:
    """Two rounds of toy sites, whose honest updates have norms of about 4."""
    with Engine(1, client_app=TOY) as engine:
        return train(engine.grid(settings(names, folder)), names, folder, **federation)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_by_name_and_leaves_no_trace(attack: str, tmp_path: Path) -> None:
    _, entries = trained((*HONEST, attack), tmp_path, max_norm_ratio=3)
    for entry in entries:
        assert set(entry.sites) == set(HONEST)
        assert re.search(ATTACKS[attack], entry.refused.pop(attack)) and not entry.refused  # type: ignore[attr-defined]
    assert entries[-1].digest == digest(folded(HONEST, rounds=2))


@pytest.mark.parametrize("rule", ["median", "fedadam"])
def test_other_rules_are_guarded_alike(rule: str, tmp_path: Path) -> None:
    among, _ = trained((*HONEST, "far"), tmp_path, aggregation=rule, max_norm_ratio=3)
    alone, _ = trained(HONEST, tmp_path, aggregation=rule, max_norm_ratio=0)
    assert digest(among) == digest(alone)


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        ("ctrlbig", r"its control variate changes by 4.123e\+06, the bound is 1.237: 3 times .*"),
        ("ctrlvast", r"its control variate is too large for a float32\."),
        ("ctrlinf", r"the update holds values that are not finite\."),
        ("ctrlvoid", r"the update holds values that are not finite\."),
    ],
)
def test_a_hostile_control_variate_is_refused_and_moves_no_other(
    attack: str, why: str, tmp_path: Path
) -> None:
    """Four of five sites change theirs by 0.1 in each of two rounds: c is 0.2 * 4 / 5.

    17 numbers of 0.1 have a norm of 0.412, three times which is 1.237.
    """
    names, entries = (*HONEST, attack), []
    spec = PhaseRun(
        phase=Phase.PRETRAIN,
        rounds=2,
        participants={
            name: Participant(node=node, most={"encoder": 10})
            for node, name in enumerate(names, start=1)
        },
        federation=FederationConfig(aggregation=Aggregation.SCAFFOLD, max_norm_ratio=3),
        plan="{}",
        plan_hash="x",
        run="toy",
        scratch=tmp_path,
    )
    algorithm = algorithm_of(spec)
    with Engine(1, client_app=TOY) as engine:
        grid = engine.grid(settings(names, tmp_path))
        weights = train_phase(
            grid, START, spec, algorithm=algorithm, on_round=lambda it, _: entries.append(it)
        )
    for entry in entries:
        assert set(entry.sites) == set(HONEST) and list(entry.refused) == [attack]
        assert re.match(why, entry.refused[attack])
    assert digest(weights) == digest(folded(HONEST, rounds=2))
    control = dict(algorithm.state())[CONTROL]
    for name, array in START.items():
        np.testing.assert_allclose(control[name], np.full(array.shape, 0.16), rtol=1e-6)


def test_whoever_comes_first_the_same_updates_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`far` comes first in time, or last; in names it is before `z`."""
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)
    names = ("a", "far", "z")
    for order in itertools.permutations(range(3)):
        delays = {name: 0.06 * place for name, place in zip(names, order, strict=True)}
        _, entries = train(RemoteGrid(delays), names, tmp_path, max_norm_ratio=3)
        assert [set(entry.refused) for entry in entries] == [{"far"}, {"far"}]
        assert entries[-1].digest == digest(folded(("a", "z"), rounds=2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", [("far",), ("a", "far")])
def test_one_or_two_sites_are_not_judged(names: Sequence[str], tmp_path: Path) -> None:
    """Nor later, when the norms of four rounds are known; `far` in both rounds is 10 a number."""
    _, entries = trained(names, tmp_path, rounds=4, max_norm_ratio=1e-9)
    assert [set(entry.sites) for entry in entries] == [set(names)] * 4


def test_without_a_ratio_nothing_is_judged(tmp_path: Path) -> None:
    _, entries = trained((*HONEST, "far"), tmp_path, max_norm_ratio=0)
    assert [entry.refused for entry in entries] == [{}, {}]


def test_a_site_that_describes_more_clips_than_there_can_be_does_not_take_part(
    tmp_path: Path,
) -> None:
    seen: list[Event] = []
    names = ("a", "describes", "z")
    plan = small_plan(pretrain={"rounds": 1}, finetune={"rounds": 0})
    with Engine(1, client_app=TOY) as engine:
        grid = engine.grid(settings(names, tmp_path))
        run_federation(grid, plan, tmp_path / "run", on_event=seen.append)
    (described,) = [event for event in seen if event.kind is EventKind.DESCRIBED]
    assert described.sites == ("a", "z")
    (why,) = described.refused.values()
    assert re.search("number of training clips is 10{18}, federation.max_clips is 10000000", why)


def test_a_resumed_round_is_held_against_the_rounds_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same norms as those of a run that was not interrupted."""
    plan = small_plan(pretrain={"rounds": 3}, finetune={"rounds": 0})
    recent: list[Sequence[Sequence[float]]] = []

    def watched(grid: Any, weights: Weights, spec: PhaseRun, **others: Any) -> Weights:
        recent.append(spec.recent)
        return train_phase(grid, weights, spec, **others)

    def stop(event: Event) -> None:
        if event.round == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "train_phase", watched)
    with Engine(1, client_app=TOY) as engine:
        grid = engine.grid(settings(HONEST, tmp_path))
        with pytest.raises(KeyboardInterrupt):
            run_federation(grid, plan, tmp_path / "run", on_event=stop)
        run_federation(grid, plan, tmp_path / "run", resume=True)
    before, after = recent
    assert before == [] and [len(norms) for norms in after] == [4, 4]
    assert all(norm > 1 for norms in after for norm in norms)
