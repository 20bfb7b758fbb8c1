"""Every form of an exported split, read by a parser of another project."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from simulations.export_split import Paths, export_split
from tests.simulations.split_cases import made, read, small

INSTITUTION = ProtocolConfig()
DEVICES = ProtocolConfig(name=ProtocolName.VENDOR_MODEL, min_patients=1)


@pytest.mark.parametrize(
    "word", ['a "quoted" word', "a,b", "two\nlines", "a lone\rreturn", "crlf\r\n", "Zürich 心", "'"]
)
def test_awkward_text_comes_back_as_it_was(tmp_path: Path, word: str) -> None:
    """Read by the csv module and by pandas, two parsers of RFC 4180."""
    table = load_manifest(small(tmp_path))
    table["study_id"] = word
    save_manifest(table, tmp_path / "awkward.parquet")
    config = ProtocolConfig(min_patients=1)
    export_split(tmp_path / "awkward.parquet", config, 0, tmp_path / "out")
    rows = read(tmp_path / "out/split.csv")
    assert len(rows) == 5 and {row["study_id"] for row in rows} == {word}
    assert set(pd.read_csv(tmp_path / "out/split.csv")["study_id"]) == {word}


def test_numbers_are_as_short_as_the_source_wrote_them(tmp_path: Path) -> None:
    """20.1 and 53.4 have no exact float32; the nearest ones are those that these texts name."""
    export_split(made(tmp_path), INSTITUTION, 0, tmp_path / "out")
    first = next(row for row in read(tmp_path / "out/split.csv") if row["clip_id"] == "0000-0")
    assert (first["ef"], first["fps"], first["n_frames"]) == ("20.1", "53.4", "30")


def test_data_lists_hold_what_the_table_holds(tmp_path: Path) -> None:
    """Independent parser: json, against the csv module's rows."""
    export_split(small(tmp_path), ProtocolConfig(min_patients=1), 0, tmp_path / "out")
    beta = json.loads((tmp_path / "out/datalists/beta.json").read_text())
    assert beta == {
        "training": [
            {"image": "/x/q1-a.png", "clip_id": "q1-a", "as_grade": 3, "as_class": 2, "view": 2}
        ],
        "validation": [
            {
                "image": "/x/q3-a.png", "clip_id": "q3-a", "ef": 40.0, "edv": 100.0,
                "as_grade": 0, "as_class": 0, "view": 2,
            }
        ],
        "testing": [],
    }  # fmt: skip


def test_stills_of_one_study_are_a_list_of_images(tmp_path: Path) -> None:
    table = load_manifest(small(tmp_path)).iloc[[0]]
    table["path"] = os.pathsep.join(["/x/1.png", "/x/2.png"])
    save_manifest(table, tmp_path / "stills.parquet")
    config, below = ProtocolConfig(min_patients=1), Paths(below=Path("/x"))
    export_split(tmp_path / "stills.parquet", config, 0, tmp_path / "out", below)
    lists = json.loads((tmp_path / "out/datalists/alpha.json").read_text())
    assert lists["training"][0]["image"] == ["1.png", "2.png"]


def card(folder: Path) -> dict[str, dict[str, object]]:
    yaml = pytest.importorskip("yaml")
    _, header, _ = (folder / "README.md").read_text().split("---\n", 2)
    return {config["config_name"]: config for config in yaml.safe_load(header)["configs"]}


def test_the_card_names_every_file_that_holds_a_clip(tmp_path: Path) -> None:
    """Independent parser: PyYAML."""
    table = load_manifest(small(tmp_path))
    table["site"] = table["dataset"].replace({"alpha": "no", "beta": "007"})
    save_manifest(table, tmp_path / "named.parquet")
    config = ProtocolConfig(min_patients=1)
    export_split(tmp_path / "named.parquet", config, 0, tmp_path / "out")
    configs = card(tmp_path / "out")
    assert list(configs) == ["all", "007", "no"]  # text, though YAML has a false and a number
    assert configs["no"]["data_files"] == [
        {"split": "train", "path": ["sites/no/train.csv"]},
        {"split": "test", "path": ["sites/no/test.csv"]},
    ]
    assert configs["all"]["data_files"] == [
        {"split": "train", "path": ["sites/007/train.csv", "sites/no/train.csv"]},
        {"split": "validation", "path": ["sites/007/val.csv"]},
        {"split": "test", "path": ["sites/no/test.csv"]},
    ]


def test_hugging_face_datasets_reads_the_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export_split(made(tmp_path), DEVICES, 3, tmp_path / "out")
    rows = read(tmp_path / "out/split.csv")
    names = {"train": "train", "validation": "val", "test": "test"}
    for site in ["all", *{row["site"] for row in rows}]:
        loaded = datasets.load_dataset(
            str(tmp_path / "out"), site, cache_dir=str(tmp_path / "cache")
        )
        for name, ours in names.items():
            want = [
                (row["clip_id"], row["patient_id"], float(row["ef"]))
                for row in rows
                if row["split"] == ours and site in ("all", row["site"])
            ]
            got = [(row["clip_id"], row["patient_id"], row["ef"]) for row in loaded[name]]
            assert sorted(got) == sorted(want) and want


def test_flower_datasets_partitions_it_by_site(tmp_path: Path) -> None:
    partitioner = pytest.importorskip("flwr_datasets.partitioner")
    flower = pytest.importorskip("flwr_datasets")
    summary = export_split(made(tmp_path), DEVICES, 3, tmp_path / "out").summary
    federation = flower.FederatedDataset(
        dataset=str(tmp_path / "out"),
        subset="all",
        partitioners={"train": partitioner.NaturalIdPartitioner(partition_by="site")},
        cache_dir=str(tmp_path / "cache"),
    )
    count = federation.partitioners["train"].num_partitions
    parts = [federation.load_partition(part, "train") for part in range(count)]
    assert {part["site"][0]: len(part) for part in parts} == {
        site: counts["train"]["clips"] for site, counts in summary["sites"].items()
    }


def test_monai_reads_the_data_lists(tmp_path: Path) -> None:
    """Also where the base folder holds a folder called like a view, which MONAI would join to."""
    monai = pytest.importorskip("monai.data")
    export_split(made(tmp_path), INSTITUTION, 0, tmp_path / "out", Paths(below=tmp_path / "data"))
    (tmp_path / "data/A4C").mkdir(parents=True)
    rows = {row["clip_id"]: row for row in read(tmp_path / "out/split.csv")}
    seen = []
    for key, split in (("training", "train"), ("validation", "val"), ("testing", "test")):
        for item in monai.load_decathlon_datalist(
            tmp_path / "out/datalists/made.json", True, key, tmp_path / "data"
        ):
            row = rows[item["clip_id"]]
            assert row["split"] == split and item["ef"] == float(row["ef"])
            assert item["image"] == str(tmp_path / "data" / row["path"])
            assert item["view"] == ["A4C", "A2C"].index(row["view"])
            seen.append(item["clip_id"])
    assert sorted(seen) == sorted(rows)
