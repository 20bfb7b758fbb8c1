"""Each answer follows from the fact that it names: the fact is changed, and so is the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.manifest import manifest_from_rows, save_manifest
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.report.checklist import data, model, results
from echofm_core.report.checklist.facts import Facts, facts_of
from echofm_core.report.checklist.item import Answer
from echofm_core.report.run_files import RunFiles, read_run
from echofm_core.report.tuning import TUNING, TUNING_COLUMNS
from echofm_core.runtime import array_files
from tests.report.made_run import write_made_run


def person(number: int, split: str, **more: object) -> dict[str, object]:
    return {
        "dataset": "camus", "site": "camus", "patient_id": f"p{number}", "clip_id": f"c{number}",
        "path": f"/secret/{number}.avi", "split": split, "view": "A4C", "fps": 40 + number,
        "sex": "FM"[number % 2], "age": 50 + number, "ef": 40 + number, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """A made run with weights of 2 x 3 + 5 parameters, and a manifest of 24 + 6 patients."""
    folder = write_made_run(tmp_path_factory.mktemp("made") / "run", small=True)
    weights = {"encoder.a": np.zeros((2, 3), np.float32), "heads.ef.b": np.zeros(5, np.float32)}
    array_files.save(weights, folder / "model" / "model.safetensors", {})
    people = [person(n, "train" if n < 24 else "test") for n in range(30)]
    save_manifest(manifest_from_rows(people), folder / "manifests" / "all.parquet")
    return read_run(folder)


@pytest.fixture(scope="module")
def facts(run: RunFiles) -> Facts:
    return facts_of(run, None, None)


def planned(facts: Facts, table: str, **values: object) -> Facts:
    """With other keys of a table of the plan."""
    assert facts.plan is not None
    whole = facts.plan.model_dump(mode="json")
    whole[table] |= values
    plan = plan_from_mapping(whole, "of a test")
    return replace(facts, plan=plan, run=replace(facts.run, plan=plan))


def summed(facts: Facts, **values: object) -> Facts:
    """With other words in its summary."""
    return replace(facts, run=replace(facts.run, summary={**facts.run.summary, **values}))


def owned(run: RunFiles) -> RunFiles:
    """All sites with data of one set."""
    return replace(run, sites=run.sites.assign(dataset="own"))


CHANGES: list[tuple[Answer, Callable[[Facts], Facts], str]] = [
    (data.sources, lambda f: replace(f, run=owned(f.run)),
     "By site: camus, 114 clips of 57 patients (data set own);"),
    (data.sources, lambda f: summed(f, synthetic=True), "SIMULATED data: patients here are phan"),
    (data.setting, lambda f: summed(f, synthetic_sites=True), "which are no institutions"),
    (data.setting, lambda f: planned(f, "protocol", name="quality"), "(rule: quality)"),
    (data.eligibility, lambda f: planned(f, "protocol", views=["A2C"]), "views A2C in"),
    (data.eligibility, lambda f: planned(f, "data", min_clip_frames=11), "at least 11 frames"),
    (data.subset, lambda f: planned(f, "finetune", label_fraction=0.25), "labels of 25% of"),
    (data.partitions, lambda f: summed(f, split_sha256="ab" * 32), f"of the split: {'ab' * 32}."),
    (data.partitions, lambda f: planned(f, "protocol", test_fraction=0.35), "35% of patients"),
    (data.partitions, lambda f: summed(f, split_seed=41), "for validation, by seed 41."),
    (data.reference, lambda f: planned(f, "finetune", reduced_ef_threshold=41), "below 41 %"),
    (model.kind, lambda f: planned(f, "finetune", tasks=["view"]), "that reads view from"),
    (model.preprocessing, lambda f: planned(f, "data", size=64), "of 64 x 64 pixels"),
    (model.preprocessing, lambda f: planned(f, "data", window_seconds=2.5), "over 2.5 s"),
    (model.architecture, lambda f: replace(f, parameters={"encoder": 7}), "Parameters: 7 (enc"),
    (model.architecture, lambda f: planned(f, "model", size="small"), "12 blocks, width 384"),
    (model.software, lambda f: summed(f, versions={"torch": "9.9"}), "torch 9.9."),
    (model.initialisation, lambda f: replace(f, run=replace(f.run, begun={"start": "ab" * 32})),
     "weights abababababab"),
    (model.training, lambda f: planned(f, "finetune", rounds=77), "77 rounds"),
    (model.training, lambda f: planned(f, "federation", aggregation="fedyogi"), "sites: fedyogi"),
    (model.training, lambda f: summed(f, reference="fedprox"), "sites: fedprox"),
    (model.training, lambda f: summed(f, plan_hash="cd" * 32), f"of hash {'cd' * 32}"),
    (model.selection, lambda f: planned(f, "federation", select="best"), "least validation loss"),
    (model.ensembling, lambda f: planned(f, "data", test_windows=9), "at most 9 windows"),
    (model.ensembling, lambda f: replace(f, model="ensemble"), "mean of the sites' own models"),
    (model.imbalance, lambda f: planned(f, "finetune", focal_gamma=2), "focal loss, gamma 2"),
    (model.updating, lambda f: planned(f, "evaluation", few_shot=[0, 5]), "on 0 and 5 of its"),
    (model.specification, lambda f: summed(f, digest="ef" * 32), f"digest {'ef' * 32}"),
    (model.specification, lambda f: replace(f, parameters={}), "Weights: SHA-256"),
    (results.uncertainty, lambda f: planned(f, "evaluation", bootstrap=321), "321 resamples"),
    (results.limitations, lambda f: summed(f, notes=["Read with care."]), "Read with care."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "change", "words"),
    CHANGES,
    ids=[f"{answer.__name__}-{number}" for number, (answer, *_) in enumerate(CHANGES)],
)
def test_another_fact_is_another_answer(
    facts: Facts, answer: Answer, change: Callable[[Facts], Facts], words: str
) -> None:
    other = summed(facts, synthetic=False) if words.startswith("SIMULATED") else facts
    assert words not in answer(other)
    assert words in answer(change(facts))


def test_counts_are_those_of_the_tables(facts: Facts) -> None:
    """Five sites with 80, 10 and 24 clips of half as many patients; EF at three of them; two files
    quarantined, one mended."""
    assert "By split: training, 400 clips of 200 patients" in data.partitions(facts)
    assert "test, 120 clips of 60 patients" in data.partitions(facts)
    missing = data.missing(facts)
    assert "Labels of 400 training clips: EF 240, ESV 0, EDV 0" in missing
    assert (
        "2 files or rows could not be used (missing view 1, truncated video 1); 1 was used"
        in missing
    )


def test_patients_are_counted_in_the_manifest_and_small_groups_are_not(facts: Facts) -> None:
    """By hand: of patients 0 to 23 twelve are F, ages 50 to 73: median 61.5, written 62. The six of
    the test are fewer than ten. No path or id is shown."""
    words = data.characteristics(facts)
    assert (
        "By split: training, 24 patients: sex F 12, M 12, median age 62 years (quartiles 56 and 67)"
        in words
    )
    assert "median EF 52 % (quartiles 46 and 57)" in words
    assert "test, 6 patients: sex F fewer than 10, M fewer than 10, age recorded of fewer" in words
    assert "30 clips, median frame rate 54 a second (range 40 to 69). Pat" in data.acquisition(
        facts
    )
    assert "A4C 30" in data.acquisition(facts)
    assert "0 of 30 patients are in more than one split" in data.disjoint(facts)
    twice = pd.concat([facts.manifest, facts.manifest.iloc[:1].assign(split="test")])
    assert "1 of 30 patients is in" in data.disjoint(replace(facts, manifest=twice))
    everything = words + data.acquisition(facts) + data.disjoint(facts)
    assert "secret" not in everything
    assert "p0" not in everything


def test_what_is_not_known_of_some_clips_is_counted(facts: Facts) -> None:
    """Of 30 clips with rates of 40 to 69 the first has none now: the median of 41 to 69 is 55."""
    table = facts.manifest.assign(fps=facts.manifest["fps"].where(facts.manifest["fps"] > 40))
    words = data.acquisition(replace(facts, manifest=table))
    assert "frame rate 55 a second (range 41 to 69, not recorded in 1 clip)." in words
    assert "frame rate not recorded." in data.acquisition(
        replace(facts, manifest=table.assign(fps=float("nan")))
    )


def test_patients_of_an_external_test_are_counted_apart(facts: Facts, run: RunFiles) -> None:
    """Of 60 test patients 12 are at camus: with the site unseen 48 are of the other test."""
    unseen = replace(run, summary={**run.summary, "unseen": ["camus"]})
    words = data.partitions(replace(facts, run=unseen))
    assert "test, 96 clips of 48 patients; external test, 24 clips of 12 patients." in words


def test_one_head_is_one(facts: Facts) -> None:
    assert "One head for EF." in model.architecture(planned(facts, "finetune", tasks=["ef"]))
    both = model.architecture(planned(facts, "finetune", tasks=["ef", "esv"]))
    assert "A head each for EF and ESV." in both


def test_how_a_training_went_is_no_limitation(facts: Facts) -> None:
    """What is said of another method's training, and what may help it, stays on the page."""
    warned = summed(facts, notes=["Few patients.", "fedadam: a: hardly learnt. Train on."],
                    training_notes=["fedadam: a: hardly learnt. Train on."])  # fmt: skip
    assert "Few patients." in results.limitations(warned)
    assert "hardly learnt" not in results.limitations(warned)


def test_a_study_without_a_rule_of_averaging_names_none(facts: Facts) -> None:
    assert "Aggregation" in model.training(facts)
    assert "Aggregation" not in model.training(summed(facts, reference=""))


def test_parameters_are_those_of_the_weights(facts: Facts) -> None:
    assert "Parameters: 11 (encoder 6, heads 5)." in model.architecture(facts)


def test_scores_are_those_of_the_run(facts: Facts, run: RunFiles) -> None:
    row = run.scores.query(
        "model == 'federated' and site == 'camus' and task == 'ef' and metric == 'mae'"
    ).iloc[0]
    words = f"EF MAE (points) {row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}] at camus"
    assert words in results.internal(facts)
    other = run.scores.assign(value=run.scores["value"] + 1)
    assert words not in results.internal(facts_of(replace(run, scores=other), None, None))
    assert results.external(facts) == "None in this run: every site that was tested also trained."
    unseen = replace(run, summary={**run.summary, "unseen": ["camus"]})
    assert words in results.external(facts_of(unseen, None, None))
    assert words not in results.internal(facts_of(unseen, None, None))


def test_a_run_that_was_not_stressed_says_nothing_of_robustness(facts: Facts) -> None:
    assert results.robustness(facts) == ""
    row = {"change": "depth", "strength": 1.5, "written": "x 1.5", "site": "camus", "worst": "",
           "never_seen": False, "task": "ef", "metric": "mae", "clean": 5.0, "value": 7.5,
           "loss": 2.5}  # fmt: skip
    stress = pd.DataFrame([row, {**row, "strength": 1.1, "written": "x 1.1", "loss": 0.5}])
    words = results.robustness(replace(facts, stress=stress))
    assert "2 synthetic changes of the test clips" in words
    assert "EF MAE (points) 5.0 becomes 7.5 at camus by depth x 1.5" in words


def test_a_plan_that_cannot_be_read_answers_nothing(run: RunFiles) -> None:
    lost = facts_of(replace(run, plan=Plan(), missing={"plan": "it is damaged"}), None, None)
    for answer in (data.eligibility, data.reference, data.partitions, model.training, model.kind):
        assert answer(lost) == ""


def test_how_values_were_found_is_known_of_a_study(facts: Facts, tmp_path: Path) -> None:
    """A run alone says nothing: its author may have tuned before. What was chosen lies beside the
    seed's folder."""
    assert model.tuning(facts) == ""
    assert model.tuning(planned(facts, "study", seeds=2)).startswith("Nothing was tuned")
    rows = [("fedavg", "fedavg", "finetune.learning_rate = 0.001", 9, 0.5, True)]
    pd.DataFrame(rows, columns=list(TUNING_COLUMNS)).to_parquet(tmp_path / TUNING)
    tuned = planned(facts, "study", tune=4)
    tuned = replace(tuned, run=replace(tuned.run, folder=tmp_path / "seed-0"))
    answer = model.tuning(tuned)
    assert answer.startswith("Every method had 4 settings")
    assert answer.endswith("Chosen: fedavg: finetune.learning_rate = 0.001.")
    assert "These are the plan's values; where a study chose others" in model.training(tuned)
    assert "where a study chose others" not in model.training(planned(facts, "study", seeds=2))
