"""The folder of an exported split: what is in it, and that it is there whole or not at all."""

import hashlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from echofm_core.runtime.errors import EmptySiteError, ManifestError, ResumeError
from echofm_core.runtime.files import is_partial
from simulations.export_split import Paths, export_split
from simulations.protocols.assign import assign_sites
from tests.simulations.split_cases import made, names, read, small, tree
from tests.support.commands import Echofm
from tests.support.forks import Forks

INSTITUTION = ProtocolConfig()
#: Small numbers of patients, so that every protocol finds enough of them at each site.
CONFIGS = [
    ProtocolConfig(name=name, clients=2, alpha=50.0, min_patients=1)
    for name in ProtocolName
    if name not in ("fedcvd", "view_skew")  # ask for other data than `made`
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name.value)
def test_no_patient_is_in_two_files_and_no_clip_is_lost(
    tmp_path: Path, config: ProtocolConfig
) -> None:
    summary = export_split(made(tmp_path), config, 3, tmp_path / "out").summary
    homes: dict[tuple[str, str], set[tuple[str, str]]] = {}
    clips: list[str] = []
    for site, part in summary["sites"].items():
        for split in ("train", "val", "test"):
            for row in read(tmp_path / "out" / "sites" / part["folder"] / f"{split}.csv"):
                assert (row["site"], row["split"]) == (site, split)
                homes.setdefault((row["dataset"], row["patient_id"]), set()).add((site, split))
                clips.append(row["clip_id"])
    assert len(homes) == 40 and all(len(home) == 1 for home in homes.values())
    assert sorted(clips) == [f"{patient:04d}-{clip}" for patient in range(40) for clip in (0, 1)]
    whole = read(tmp_path / "out" / "split.csv")
    assert sorted(row["clip_id"] for row in whole) == sorted(clips)
    assert all((row["site"], row["split"]) in homes["made", row["patient_id"]] for row in whole)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name.value)
def test_the_split_of_a_run_is_exported_from_its_manifest(
    tmp_path: Path, config: ProtocolConfig
) -> None:
    """A run keeps its placed manifest; exporting that one must draw the same sites and splits."""
    source = made(tmp_path)
    save_manifest(assign_sites(load_manifest(source), config, 3), tmp_path / "all.parquet")
    export_split(source, config, 3, tmp_path / "a")
    export_split(tmp_path / "all.parquet", config, 3, tmp_path / "b")
    assert (tmp_path / "a/split.csv").read_bytes() == (tmp_path / "b/split.csv").read_bytes()


def test_counts_are_those_counted_by_hand(tmp_path: Path) -> None:
    config = ProtocolConfig(min_patients=1)
    summary = export_split(small(tmp_path), config, 0, tmp_path / "out").summary
    assert summary == json.loads((tmp_path / "out/split.json").read_text())

    def counts(clips: int, patients: int, **labels: int) -> dict[str, object]:
        columns = ("ef", "edv", "esv", "as_grade", "as_class", "view")
        labelled = {label: labels.get(label, 0) for label in columns}
        return {"clips": clips, "patients": patients, "labelled": labelled}

    assert summary["sites"] == {
        "alpha": {
            "folder": "alpha",
            "train": counts(2, 1, ef=2, view=2),
            "val": counts(0, 0),
            "test": counts(1, 1),
        },
        "beta": {
            "folder": "beta",
            "train": counts(1, 1, as_grade=1, as_class=1, view=1),
            "val": counts(1, 1, ef=1, edv=1, as_grade=1, as_class=1, view=1),
            "test": counts(0, 0),
        },
    }
    assert summary["synthetic_sites"] is False and summary["left_out_clips"] == 0


def test_patients_of_two_data_sets_are_two_though_they_have_one_id(tmp_path: Path) -> None:
    """Both data sets have a p1 who trains; at one site these are 3 clips of 2 patients."""
    table = load_manifest(small(tmp_path))
    table["site"] = "both"
    save_manifest(table, tmp_path / "both.parquet")
    summary = export_split(tmp_path / "both.parquet", INSTITUTION, 0, tmp_path / "out").summary
    train = summary["sites"]["both"]["train"]
    assert (train["clips"], train["patients"]) == (3, 2)


def test_rows_are_in_a_stated_order(tmp_path: Path) -> None:
    """By site, then train, val, test, then patient: whoever compares two files needs it."""
    config = ProtocolConfig(name=ProtocolName.QUALITY)
    export_split(made(tmp_path), config, 0, tmp_path / "out")
    rows = read(tmp_path / "out/split.csv")
    keys = [
        (row["site"], ("train", "val", "test").index(row["split"]), row["clip_id"]) for row in rows
    ]
    assert keys == sorted(keys) and {rank for _, rank, _ in keys} == {0, 1, 2}


def test_the_whole_of_a_small_table(tmp_path: Path) -> None:
    """Every byte, written out by hand: header, order, empty for missing, line feeds."""
    export_split(small(tmp_path), ProtocolConfig(min_patients=1), 0, tmp_path / "out")
    header = (
        "dataset,site,split,patient_id,study_id,clip_id,path,ef,edv,esv,as_grade,as_class,view,fps,"
        "n_frames"
    )
    assert (tmp_path / "out/sites/beta/val.csv").read_bytes() == (
        f"{header}\nbeta,beta,val,p3,,q3-a,/x/q3-a.png,40.0,100.0,,0,0,PLAX,,\n".encode()
    )
    assert (tmp_path / "out/sites/beta/test.csv").read_bytes() == f"{header}\n".encode()


def test_dirichlet_sites_are_said_to_be_synthetic(tmp_path: Path) -> None:
    config = ProtocolConfig(name=ProtocolName.DIRICHLET, clients=2, alpha=50.0)
    summary = export_split(made(tmp_path), config, 0, tmp_path / "out").summary
    assert summary["synthetic_sites"] is True
    assert "SYNTHETIC" in summary["caveat"]
    assert summary["caveat"] in (tmp_path / "out/README.md").read_text()


def test_the_same_call_gives_the_same_bytes_whatever_the_order_of_the_manifest(
    tmp_path: Path,
) -> None:
    source = made(tmp_path)
    rows = load_manifest(source).sample(frac=1.0, random_state=1)
    save_manifest(rows.reset_index(drop=True), tmp_path / "shuffled.parquet")
    export_split(source, INSTITUTION, 5, tmp_path / "a")
    export_split(source, INSTITUTION, 5, tmp_path / "b")
    export_split(tmp_path / "shuffled.parquet", INSTITUTION, 5, tmp_path / "c")
    a, b, c = (tree(tmp_path / name) for name in "abc")
    assert a == b
    assert {**a, "split.json": b""} == {**c, "split.json": b""}


def test_digests_are_those_of_another_program(tmp_path: Path) -> None:
    """SHA-256 by hashlib over the files as they lie."""
    source = made(tmp_path)
    summary = export_split(source, INSTITUTION, 0, tmp_path / "out").summary
    files = tree(tmp_path / "out")
    del files["split.json"]
    assert summary["files"] == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    assert summary["manifest_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_the_digest_of_a_split_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    source = made(tmp_path)
    absolute = export_split(source, INSTITUTION, 0, tmp_path / "a").summary
    relative = export_split(source, INSTITUTION, 0, tmp_path / "b", Paths(below=tmp_path)).summary
    none = export_split(source, INSTITUTION, 0, tmp_path / "c", Paths(written=False)).summary
    assert absolute["split_sha256"] == relative["split_sha256"] == none["split_sha256"]
    assert none["split_sha256"] == none["files"]["split.csv"]
    assert [item["paths"] for item in (absolute, relative, none)] == [
        "absolute", "relative", "none",
    ]  # fmt: skip


def test_relative_paths_lead_back_to_the_files(tmp_path: Path) -> None:
    export_split(made(tmp_path), INSTITUTION, 0, tmp_path / "out", Paths(below=tmp_path / "data"))
    for row in read(tmp_path / "out/split.csv"):
        assert row["path"] == f"{row['clip_id']}.avi"
    with pytest.raises(ManifestError, match="80 of 80 clips do not lie below") as caught:
        elsewhere = Paths(below=tmp_path / "elsewhere")
        export_split(made(tmp_path), INSTITUTION, 0, tmp_path / "b", elsewhere)
    assert ".avi" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_a_path_with_dots_does_not_pass_for_one_below(tmp_path: Path) -> None:
    table = load_manifest(small(tmp_path))
    table["path"] = table["path"].str.replace("/x/", "/x/../secret/")
    save_manifest(table, tmp_path / "dots.parquet")
    with pytest.raises(ManifestError, match="5 of 5 clips"):
        export_split(
            tmp_path / "dots.parquet", INSTITUTION, 0, tmp_path / "out", Paths(below=Path("/x"))
        )


def test_without_paths_no_file_tells_where_a_clip_lies(tmp_path: Path) -> None:
    export_split(made(tmp_path), INSTITUTION, 0, tmp_path / "out", Paths(written=False))
    files = tree(tmp_path / "out")
    assert not any(name.startswith("datalists") for name in files)
    assert not any(b".avi" in data or bytes(tmp_path) in data for data in files.values())
    assert {row["path"] for row in read(tmp_path / "out/split.csv")} == {""}


def test_views_are_left_out_after_the_sites_are_drawn(tmp_path: Path) -> None:
    source = made(tmp_path)
    export_split(source, INSTITUTION, 0, tmp_path / "all")
    one = ProtocolConfig(views=("A2C",))
    assert export_split(source, one, 0, tmp_path / "one").summary["left_out_clips"] == 40
    everything = {row["clip_id"]: row for row in read(tmp_path / "all/split.csv")}
    kept = read(tmp_path / "one/split.csv")
    assert len(kept) == 40
    assert all(row == everything[row["clip_id"]] and row["view"] == "A2C" for row in kept)
    with pytest.raises(EmptySiteError, match=r"\['PLAX'\].*\['A2C', 'A4C'\]"):
        export_split(source, ProtocolConfig(views=("PLAX",)), 0, tmp_path / "none")


def test_running_again_changes_nothing(tmp_path: Path) -> None:
    source, out = made(tmp_path), tmp_path / "out"
    assert export_split(source, INSTITUTION, 0, out).new
    before = {file: file.stat().st_mtime_ns for file in [out, *out.rglob("*")]}
    assert not export_split(source, INSTITUTION, 0, out).new
    assert {file: file.stat().st_mtime_ns for file in [out, *out.rglob("*")]} == before
    assert names(tmp_path) == ["manifest.parquet", "out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export_split(made(tmp_path), INSTITUTION, 0, tmp_path / "out").new


def test_what_is_not_this_split_is_never_touched(tmp_path: Path) -> None:
    source, out = made(tmp_path), tmp_path / "out"
    export_split(source, INSTITUTION, 0, out)
    before = tree(out)
    with pytest.raises(ResumeError, match=r"another split \(seed, split_sha256 differ\)"):
        export_split(source, INSTITUTION, 1, out)
    with pytest.raises(ResumeError, match=r"another split \(paths differ\)"):
        export_split(source, INSTITUTION, 0, out, Paths(below=tmp_path))
    assert tree(out) == before
    (out / "split.csv").write_text("mended by hand\n")
    with pytest.raises(ResumeError, match="files were changed"):
        export_split(source, INSTITUTION, 0, out)
    (out / "split.json").write_text("[]")
    with pytest.raises(ResumeError, match="damaged"):
        export_split(source, INSTITUTION, 0, out)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("mine")
    with pytest.raises(ResumeError, match="holds no split"):
        export_split(source, INSTITUTION, 0, theirs)
    assert tree(theirs) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("step", ["write_tables", "write_card", "write_datalists", "_install"])
def test_killed_in_the_middle_it_leaves_nothing_that_looks_whole(
    forks: Forks, tmp_path: Path, step: str
) -> None:
    """A real process is killed by SIGKILL where ``step`` would begin, and then run again."""
    source, out = made(tmp_path), tmp_path / "out"
    code = f"""
import os, signal, sys
from pathlib import Path
from echofm_core.plan.protocol import ProtocolConfig
from simulations import export_split
export_split.{step} = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)
export_split.export_split(Path(sys.argv[1]), ProtocolConfig(), 0, Path(sys.argv[2]))
"""
    killed = forks.start(code, source, out, out=Path(os.devnull))
    assert killed.wait(60) == -signal.SIGKILL
    assert not out.exists()
    left = [name for name in names(tmp_path) if name != source.name]
    assert len(left) == 1 and is_partial(left[0])
    assert export_split(source, INSTITUTION, 0, out).new
    assert names(tmp_path) == ["manifest.parquet", "out"]
    export_split(source, INSTITUTION, 0, tmp_path / "other")
    assert tree(out) == tree(tmp_path / "other")


def test_the_command_is_listed_and_says_where_the_files_stay(echofm: Echofm) -> None:
    assert "export-split" in echofm("data", "--help").stdout
    page = echofm("data", "export-split", "--help").stdout
    assert "stay where the data stays" in " ".join(page.split())


def test_the_command_prints_counts_and_caveat_and_runs_again(
    echofm: Echofm, tmp_path: Path
) -> None:
    source, out = made(tmp_path), tmp_path / "out"
    first = echofm("data", "export-split", source, "--out", out)
    assert first.returncode == 0, first.stderr
    assert re.search(r"made\D+train\D+56\D+28\D+56", first.stdout)  # 40 less 20 % less 10 %
    assert "Sites are institutions" in first.stdout
    again = echofm(
        "data", "export-split", source, "--out", out, "--protocol", "institution", "--seed", "0"
    )
    assert again.returncode == 0 and "nothing changed" in again.stdout


def test_a_plan_decides_as_its_options_do(echofm: Echofm, tmp_path: Path) -> None:
    source = made(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text('seed = 7\n[protocol]\nname = "dirichlet"\nclients = 2\nalpha = 50.0\n')
    options = ("--protocol", "dirichlet", "--clients", "2", "--alpha", "50", "--seed", "7")
    assert (
        echofm("data", "export-split", source, "--out", tmp_path / "a", "--plan", plan).returncode
        == 0
    )
    assert echofm("data", "export-split", source, "--out", tmp_path / "b", *options).returncode == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--plan", "plan.toml", "--seed", "1"), 10, "--plan and the options for `seed`"),
        (("--clients", "3"), 10, "--clients belongs to the protocol dirichlet"),
        (("--no-paths", "--relative-to", "/"), 10, "give one of them"),
        (("--protocol", "vendor"), 10, "`protocol.name`"),
        (("--test-fraction", "1.5"), 10, "`protocol.test_fraction`"),
        (("--dataset", "camus"), 10, "protocol.datasets names 'camus'"),
        (("--min-patients", "99"), 13, "site made has 40 usable patients"),
        (("--out", "/proc/nowhere/out"), 32, "cannot be written"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    echofm: Echofm, tmp_path: Path, options: tuple[str, ...], code: int, sentence: str
) -> None:
    result = echofm("data", "export-split", made(tmp_path), "--out", tmp_path / "out", *options)
    assert result.returncode == code, result.stderr
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
