"""The record of whom a model was trained on: counts right, names nobody, stays where made."""

from __future__ import annotations

import hmac
import json
import stat
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.patients import write_secret
from echofm_core.data.training_record import (
    KEY,
    RECORD,
    count_trained_on,
    files_of_record,
    find_record,
    record_training,
)
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping

PLAN = plan_from_mapping({"name": "a"}, "test")


def manifest(*patients: tuple[str, str, str]) -> pd.DataFrame:
    """Rows of (data set, patient, split)."""
    return manifest_from_rows(
        {"dataset": dataset, "patient_id": patient, "clip_id": f"c{number}", "path": "/x",
         "split": split}
        for number, (dataset, patient, split) in enumerate(patients)
    )  # fmt: skip


TRAINED = manifest(
    ("camus", "patient0001", "train"),
    ("camus", "patient0001", "train"),
    ("camus", "patient0002", "val"),
    ("camus", "patient0003", "test"),
    ("mimic_iv_echo", "10000032", "train"),
)


def seen(folder: Path, rows: pd.DataFrame, plan: Plan = PLAN) -> int:
    found = find_record(folder, plan.digest())
    assert found is not None
    return count_trained_on(rows, *found)


def test_training_and_validation_patients_are_counted_as_people(tmp_path: Path) -> None:
    """LVVOL-A4C holds MIMIC-IV-ECHO's patients; another data set's patient0001 is another person;
    patient0003 was only tested."""
    record_training(tmp_path, TRAINED, PLAN.digest())
    rows = manifest(
        ("camus", "patient0001", "test"),
        ("camus", "patient0002", "test"),
        ("camus", "patient0003", "test"),
        ("camus", "patient0009", "test"),
        ("hmc_qu", "patient0001", "test"),
        ("mimic_lvvol_a4c", "10000032", "test"),
        ("mimic_lvvol_a4c", "10000032", "test"),
    )
    assert seen(tmp_path, rows) == 3


def test_the_record_names_nobody_and_holds_keyed_hashes(tmp_path: Path) -> None:
    """Each entry is HMAC-SHA256 of the person with the key, computed here from the standard
    library; the key is random and its owner's alone."""
    record_training(tmp_path, TRAINED, PLAN.digest())
    text = (tmp_path / RECORD).read_text()
    for name in ("patient0001", "patient0002", "10000032", "camus"):
        assert name not in text
    key = bytes.fromhex((tmp_path / KEY).read_text().strip())
    people = ["camus\x1fpatient0001", "camus\x1fpatient0002", "mimic_iv_echo\x1f10000032"]
    expected = [
        hmac.new(key, f"trained_on\x1f{person}".encode(), sha256).hexdigest()[:16]
        for person in people
    ]
    (part,) = json.loads(text)["parts"]
    assert part["patients"] == sorted(expected)
    assert len(key) == 32 and stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    record_training(tmp_path / "again", TRAINED, PLAN.digest())
    assert (tmp_path / "again" / KEY).read_text() != (tmp_path / KEY).read_text()
    assert (tmp_path / "again" / RECORD).read_text() != text


def test_the_institutions_own_secret_is_the_key_where_there_is_one(tmp_path: Path) -> None:
    secret = tmp_path / "site.secret"
    write_secret(secret)
    record_training(tmp_path / "run", TRAINED, PLAN.digest(), secret=str(secret))
    assert not (tmp_path / "run" / KEY).exists()
    assert secret.read_text().strip() not in (tmp_path / "run" / RECORD).read_text()
    assert seen(tmp_path / "run", TRAINED) == 3


def test_written_again_it_stays(tmp_path: Path) -> None:
    record_training(tmp_path, TRAINED, PLAN.digest())
    before = (tmp_path / RECORD).stat().st_mtime_ns, (tmp_path / KEY).read_text()
    record_training(tmp_path, TRAINED, PLAN.digest())
    assert ((tmp_path / RECORD).stat().st_mtime_ns, (tmp_path / KEY).read_text()) == before


def test_found_beside_the_model_and_in_a_states_folder_by_the_plan(tmp_path: Path) -> None:
    other = plan_from_mapping({"name": "b"}, "test")
    record_training(tmp_path / "run", TRAINED, PLAN.digest())
    for name, plan in (("a-1", PLAN), ("b-1", other)):
        record_training(tmp_path / "state" / name, TRAINED, plan.digest())
    model = tmp_path / "run" / "model" / "model.safetensors"
    for place in (tmp_path / "run", model.parent, model):
        assert find_record(place, PLAN.digest()) is not None
    assert find_record(model, other.digest()) is None, "another training's record says nothing"
    assert find_record(tmp_path / "handed-on", PLAN.digest()) is None
    found = find_record(tmp_path / "handed-on", other.digest(), tmp_path / "state")
    assert found is not None and found[0].name == "b-1"
    (tmp_path / "run" / RECORD).write_text("{torn")
    assert find_record(tmp_path / "run", PLAN.digest()) is None


def test_those_of_the_weights_that_it_began_with_count_too(tmp_path: Path) -> None:
    """Also after the folder of the first training is gone; of weights without a record, nothing
    is known."""
    first = manifest(("camus", "patient0050", "train"))
    record_training(tmp_path / "mae", first, PLAN.digest())
    record_training(tmp_path / "run", TRAINED, PLAN.digest(), start=tmp_path / "mae")
    (tmp_path / "mae" / KEY).unlink()
    (tmp_path / "mae" / RECORD).unlink()
    both = manifest(("camus", "patient0050", "test"), ("camus", "patient0001", "test"))
    assert seen(tmp_path / "run", both) == 2
    found = find_record(tmp_path / "run", PLAN.digest())
    assert found is not None and not found[1].start_unknown
    record_training(tmp_path / "more", TRAINED, PLAN.digest(), start=tmp_path / "public-weights")
    found = find_record(tmp_path / "more", PLAN.digest())
    assert found is not None and found[1].start_unknown


@pytest.mark.parametrize("known", [True, False])
def test_weights_that_a_plan_names_by_digest_are_unknown(tmp_path: Path, known: bool) -> None:
    """A site of a federation is sent them; it cannot know whom they were trained on."""
    model = PLAN.model.model_copy(update={"start": "" if known else "abc"})
    plan = PLAN.model_copy(update={"model": model})
    record_training(tmp_path, TRAINED, plan.digest(), pinned=not known)
    found = find_record(tmp_path, plan.digest())
    assert found is not None and found[1].start_unknown is not known


def test_a_start_that_came_to_nothing_leaves_no_key_of_other_weights(tmp_path: Path) -> None:
    """The patient of the second weights is hashed with their key, so that key has to be there."""
    second = manifest(("camus", "patient0060", "train"))
    record_training(tmp_path / "a", manifest(("camus", "patient0050", "train")), PLAN.digest())
    record_training(tmp_path / "b", second, PLAN.digest())
    for start in ("a", "b"):
        record_training(tmp_path / "run", TRAINED, PLAN.digest(), start=tmp_path / start)
    assert seen(tmp_path / "run", second) == 1


def test_of_weights_whose_key_is_lost_nothing_is_known(tmp_path: Path) -> None:
    record_training(tmp_path / "mae", manifest(("camus", "patient0050", "train")), PLAN.digest())
    (tmp_path / "mae" / KEY).unlink()
    record_training(tmp_path / "run", TRAINED, PLAN.digest(), start=tmp_path / "mae")
    found = find_record(tmp_path / "run", PLAN.digest())
    assert found is not None and found[1].start_unknown
    assert seen(tmp_path / "run", TRAINED) == 3


def test_patients_that_went_from_the_data_in_between_count_too(tmp_path: Path) -> None:
    """Of one training; another plan's begins with nobody."""
    record_training(tmp_path, TRAINED, PLAN.digest())
    rest = manifest(("camus", "patient0007", "train"))
    record_training(tmp_path, rest, PLAN.digest())
    assert seen(tmp_path, TRAINED) == 3 and seen(tmp_path, rest) == 1
    other = plan_from_mapping({"name": "b"}, "test")
    record_training(tmp_path, rest, other.digest())
    assert seen(tmp_path, TRAINED, other) == 0


def test_the_files_of_a_record_are_named(tmp_path: Path) -> None:
    """With the keys of the weights that it began with, but for a secret that lies elsewhere."""
    assert files_of_record(tmp_path) == set()
    record_training(tmp_path / "mae", TRAINED, PLAN.digest())
    record_training(tmp_path / "run", TRAINED, PLAN.digest(), start=tmp_path / "mae")
    files = {"trained_on.json", "trained_on.key", "start-0.trained_on.key"}
    assert files_of_record(tmp_path / "run") == files
    assert {path.name for path in (tmp_path / "run").iterdir()} == files
    secret = tmp_path / "secret"
    write_secret(secret)
    record_training(tmp_path / "own", TRAINED, PLAN.digest(), secret=str(secret))
    assert files_of_record(tmp_path / "own") == {"trained_on.json"}
