"""What trainings will take, summed by hand from made-up costs; no clip is decoded."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from client.plan_words import shared_groups, update_bytes
from echofm_core.contract import ENCODER, STF_NET, Phase
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from simulations.arms import plan_arms
from simulations.few_shot import plan_shots
from simulations.study.dry_run import Forecast, site_grid, work_grid
from simulations.study.estimate import (
    Data,
    Work,
    bytes_to_sites,
    memory_of,
    noise_to_signal,
    shots_work,
    tasks_at,
    work_of,
)
from simulations.study.probe import Costs, PhaseCosts

COSTS = Costs(
    decode={"A": 2.0},
    phases={
        Phase.PRETRAIN: PhaseCosts(step=1.0, validation=0.1, exchange=0.01),
        Phase.FINETUNE: PhaseCosts(step=10.0, validation=0.2, exchange=0.02),
    },
    test=3.0,
    memory=500,
)
TABLES: dict[str, object] = {
    "pretrain": {"rounds": 2, "local_steps": 5},
    "finetune": {"rounds": 3, "local_steps": 10, "tasks": ["ef", "as_grade"]},
}


def people(site: str, split: str, count: int, **label: float) -> list[dict[str, object]]:
    return [
        {
            "dataset": site, "site": site, "patient_id": f"{site}{split}{n}",
            "clip_id": f"{site}{split}{n}", "path": "/x", "split": split, "view": "A4C", **label,
        }
        for n in range(count)
    ]  # fmt: skip


def manifest() -> pd.DataFrame:
    """A has EF, C has grades and three test patients, D trains without labels."""
    rows = people("A", "train", 40, ef=50.0) + people("A", "val", 5, ef=50.0)
    rows += people("A", "test", 12, ef=60.0)
    rows += people("C", "train", 20, as_grade=2) + people("C", "test", 3, as_grade=1)
    return manifest_from_rows(rows + people("D", "train", 8))


def plan(**tables: object) -> Plan:
    return plan_from_mapping({**TABLES, **tables}, "test")


def test_the_work_of_a_federation_is_the_sum_of_its_parts() -> None:
    """Pre-training: 2 rounds x 3 sites x 5 steps of 1 s, 5 clips validated a round, 6 exchanges.

    Fine-tuning: 3 rounds x 2 sites with labels x 10 steps of 10 s, the same 5 clips, 6 exchanges.
    At the end 15 test clips and the 5 that validate, of 3 s.
    """
    here = plan()
    federated = plan_arms(manifest(), here)[0][0]
    work = work_of(federated, federated.plan(here), Data(manifest(), here), COSTS)
    assert (work.rounds, work.steps) == (5, 2 * 3 * 5 + 3 * 2 * 10)
    expected = 30 * 1.0 + 2 * 5 * 0.1 + 6 * 0.01 + 60 * 10.0 + 3 * 5 * 0.2 + 6 * 0.02 + 20 * 3.0
    assert work.seconds == pytest.approx(expected)
    encoder, whole = (sum(shared_groups(here, phase).values()) * 4 for phase in Phase)
    assert work.bytes == 2 * 3 * 2 * encoder + 3 * 2 * 2 * whole


def test_a_site_that_trains_is_tested_where_the_table_does_not_ask_for_it_too() -> None:
    """Of leaving B out, A's 12 test clips and 5 that validate, and B's, of whom the table is."""
    rows = [
        row
        for site in "AB"
        for split, count in (("train", 40), ("val", 5), ("test", 12))
        for row in people(site, split, count, ef=50.0)
    ]
    here = plan(
        pretrain={"rounds": 0},
        finetune={"rounds": 3, "local_steps": 10, "tasks": ["ef"]},
        evaluation={"baselines": ["leave_one_out"]},
    )
    table = manifest_from_rows(rows)
    (arm,) = [arm for arm in plan_arms(table, here)[0] if arm.name == "without:B"]
    work = work_of(arm, arm.plan(here), Data(table, here), COSTS)
    trained = 30 * 10.0 + 3 * 5 * 0.2 + 3 * 0.02
    assert work.seconds == pytest.approx(trained + 2 * (12 + 5) * 3.0)


def test_models_of_a_sites_own_are_trained_and_tested_beside_the_shared_one() -> None:
    """Ditto: the 60 steps of fine-tuning twice. A last step: 7 more at A and C each. Both are
    tested on the same 20 clips once more."""
    whole = {}
    for name, personal in (("", {}), ("ditto", {"ditto": 0.1}), ("last", {"last_steps": 7})):
        here = plan(personal=personal)
        federated = plan_arms(manifest(), here)[0][0]
        whole[name] = work_of(federated, federated.plan(here), Data(manifest(), here), COSTS)
    for name, steps in (("ditto", 60), ("last", 14)):
        assert whole[name].steps - whole[""].steps == steps
        more = whole[name].seconds - whole[""].seconds
        assert more == pytest.approx(steps * 10.0 + 20 * 3.0), name
        assert whole[name].bytes == whole[""].bytes


def test_fine_tuning_on_a_few_patients_is_counted_by_their_clips() -> None:
    """Two sites of 40 patients; of B 20, of a clip each, in batches of 8: 3 steps a pass and
    3 rounds; 3 exchanges with one site, 12 test clips; nobody validates."""
    rows = [
        row
        for site in "AB"
        for row in people(site, "train", 40, ef=50.0) + people(site, "test", 12, ef=60.0)
    ]
    here = plan(
        finetune={"rounds": 3, "local_epochs": 1, "batch_size": 8, "tasks": ["ef"]},
        evaluation={"few_shot": [0, 20], "baselines": ["leave_one_out"]},
    )
    table = manifest_from_rows(rows)
    shots, _ = plan_shots(table, here, plan_arms(table, here)[0])
    (few,) = [one for one in shots if one.site == "B" and one.shots]
    work = shots_work(few, Data(table, here), COSTS)
    assert (work.rounds, work.steps, work.bytes) == (3, 9, 0)
    assert work.seconds == pytest.approx(9 * 10.0 + 3 * 0.02 + 12 * 3.0)


def test_patients_of_two_data_sets_with_the_same_numbers_are_two() -> None:
    """A site of two hospitals' own folders, each with patients 1 and 2; twelve clips of theirs."""
    rows = people("A", "test", 12, ef=60.0)
    second = [{**row, "dataset": "B", "clip_id": f"B{row['clip_id']}"} for row in rows]
    table = manifest_from_rows(rows + second)
    here = plan()
    assert tasks_at(table, here, Split.TEST)["A"] == {"ef": 24, "as_grade": 0}
    forecast = Forecast(
        plan=here, manifest=table, trainings={}, tuning={}, notes=(), seeds=1, decode=0.0,
        score=0.0, memory=0, models=1, rivals=1,
    )  # fmt: skip
    (row,) = site_grid(forecast).rows
    assert row[:5] == ("A", "0", "0", "24", "0 / 24")


def test_one_site_exchanges_nothing() -> None:
    here = plan()
    arms = {arm.name: arm for arm in plan_arms(manifest(), here)[0]}
    for name in ("local:A", "pooled"):
        work = work_of(arms[name], arms[name].plan(here), Data(manifest(), here), COSTS)
        assert work.bytes == 0 and work.steps > 0


def test_control_variates_are_as_many_bytes_in_fp32_and_half_precision_half() -> None:
    plain = update_bytes(plan(), Phase.FINETUNE)
    scaffold = plan(federation={"aggregation": "scaffold"})
    assert update_bytes(scaffold, Phase.FINETUNE) == 2 * plain
    assert 2 * update_bytes(plan(federation={"wire": "fp16"}), Phase.FINETUNE) == plain
    both = plan(federation={"aggregation": "scaffold", "wire": "fp16"})
    assert 2 * update_bytes(both, Phase.FINETUNE) == 3 * plain  # control variates are in fp32


def test_exact_adapters_are_sent_with_the_layers_below() -> None:
    """Of the tiny encoder, 128 wide and 4 deep: qkv and proj, 4 * 128 * (384 + 128) numbers."""
    lora = {"mode": "lora", "lora": {"averaging": "exact"}}
    for wire, each in (("fp32", 4), ("fp16", 2)):
        exact = plan(finetune=lora, model={"size": "tiny"}, federation={"wire": wire})
        assert bytes_to_sites(exact, Phase.FINETUNE) == each * 4 * 128 * 512
        assert bytes_to_sites(exact, Phase.PRETRAIN) == 0
    assert bytes_to_sites(plan(finetune={"mode": "lora"}), Phase.FINETUNE) == 0
    arm = next(arm for arm in plan_arms(manifest(), exact)[0] if arm.name == "federated")
    data = Data(manifest(), exact)
    rounds = exact.finetune.rounds * 2  # of A and C
    shared = {p: 2 * update_bytes(exact, p) for p in Phase}
    pretrain = exact.pretrain.rounds * 3 * shared[Phase.PRETRAIN]
    expected = pretrain + rounds * (shared[Phase.FINETUNE] + 2 * 4 * 128 * 512)
    assert work_of(arm, exact, data, COSTS).bytes == expected


def test_mean_pooling_sends_no_fusion_network() -> None:
    """It has no parameters; what else leaves is the encoder and a head with fewer inputs."""
    pooled = shared_groups(plan(model={"stf_net": "mean_pool"}), Phase.FINETUNE)
    compact = shared_groups(plan(), Phase.FINETUNE)
    assert pooled.keys() == compact.keys() - {STF_NET}
    assert pooled[ENCODER] == compact[ENCODER]


def test_memory_grows_with_workers() -> None:
    """One process as it was measured, or one a worker beside the coordinator's."""
    one, two = plan(), plan(machine={"workers": 2})
    model = sum(shared_groups(one, Phase.FINETUNE).values()) * 4
    assert memory_of(one, COSTS) == 500 + 3 * model
    assert memory_of(two, COSTS) == 3 * 500 + 2 * 3 * model


def test_noise_against_signal_by_hand() -> None:
    """4 x sqrt(10,000) / (batch 16 x sqrt(100)) = 2.5."""
    found = noise_to_signal(plan(finetune={"batch_size": 16}), Phase.FINETUNE, 10_000, 100, 4.0)
    assert found == pytest.approx(2.5)


def forecast(of: Plan) -> Forecast:
    return Forecast(
        plan=of, manifest=manifest(), trainings={}, tuning={}, notes=(), seeds=1, decode=0.0,
        score=0.0, memory=1, models=1, rivals=0,
    )  # fmt: skip


def test_settings_are_trained_once_and_the_rest_with_every_seed() -> None:
    """Three seeds of 10 s and 2 MB, one setting of 7 s and 1 MB: 37 s and 7 MB on one worker, half
    the time on two; 3 s to decode and 4 to score beside them."""
    own, other = (
        Work(rounds=1, steps=1, seconds=seconds, bytes=size)
        for seconds, size in ((10.0, 2_000_000), (7.0, 1_000_000))
    )
    some = {"trainings": {"fedavg": own}, "tuning": {"fedavg (x = 1)": other}}
    for workers, expected in ((1, 3 + 4 + 37), (2, 3 + 4 + 37 / 2)):
        base = forecast(plan(machine={"workers": workers}))
        found = replace(base, **some, seeds=3, decode=3.0, score=4.0)
        assert found.seconds == pytest.approx(expected)
        assert found.bytes == 7_000_000
        assert [row[0] for row in work_grid(found).rows] == ["fedavg", "fedavg (x = 1)"]


def test_sites_are_shown_with_patients_and_labels() -> None:
    table = site_grid(forecast(plan(protocol={"unseen": ["C"]})))
    assert table.rows[0] == ("A", "40", "5", "12", "40 / 12", "0 / 0")
    assert table.rows[1] == ("C (never seen)", "20", "0", "3", "0 / 0", "20 / 3")
