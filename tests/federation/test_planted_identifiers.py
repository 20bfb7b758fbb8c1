"""Names, numbers and dates of patients are planted at three sites; none of them gets out.

They stand in DICOM headers, paths, a table with its column names, folder names and, by damage, in
manifests and settings. A federation runs, with failures on the way, and a second one fails as a
whole. All that the coordinator has or shows is searched, and each site's audit.
"""

from __future__ import annotations

import json
import logging
import shutil
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
from flwr.app import Message

from client.approval import record_approval
from client.audit import FILE
from echofm_core.data.manifest import save_manifest
from echofm_core.data.patients import write_secret
from echofm_core.data.readers.registry import read_roots
from echofm_core.data.store.build import build_store
from echofm_core.runtime.chained_log import ChainedLog
from echofm_core.runtime.errors import FederationError
from server.ending import RunOptions
from server.events import Event, EventKind
from server.outcome import conclude
from server.release.make import ReleaseOptions, release
from server.rounds import run_federation
from simulations.engine import InProcessGrid, _Inline
from simulations.flower_private import NodeConfig, become_server
from tests.data.files import speckle, write_jpeg_cine
from tests.federation.small import small_plan

#: Site -> family name, first name, record number, date; no digest holds them by chance.
PLANTED = {
    "alpha": ("Quillonby", "Zebediah", "774109335512", "19470312"),
    "beta": ("Wrzyszcz", "Euphemia", "660217448391", "19310725"),
    "gamma": ("Ozolnieks", "Thaddaeus", "558362907714", "19520918"),
}
ROUNDS = 5
PLAN = small_plan(
    pretrain={"rounds": 0},
    finetune={"rounds": ROUNDS, "tasks": ["ef"], "local_steps": 1},
    federation={"min_sites": 1, "trunk_weights": "clips"},
)
MAPPING = """dataset = "{site}"
secret = "site.secret"
table = "patients of {name}.csv"
[columns]
path = "File of {name}"
patient_id = "MRN"
view = "View"
split = "Part"
ef = "EF"
[views]
A4C = ["{name} view"]
"""


@dataclass
class Planted:
    """A site whose every name, number and date is a patient's."""

    site: str
    folder: Path

    @property
    def words(self) -> tuple[str, ...]:
        return PLANTED[self.site]

    @property
    def person(self) -> str:
        return " ".join(self.words)

    @property
    def manifest(self) -> Path:
        return self.folder / f"{self.person}.parquet"

    @property
    def store(self) -> Path:
        return self.folder / f"stores of {self.person}"

    @property
    def state(self) -> Path:
        return self.folder / f"state of {self.person}"

    @property
    def node(self) -> NodeConfig:
        paths = {"manifest": self.manifest, "store": self.store, "state": self.state}
        paths["settings"] = self.folder / "site.toml"
        rest = {"site": self.site, "threads": 1, "device": "cpu"}
        return rest | {key: str(path) for key, path in paths.items()}

    def build(self) -> None:
        """Cines, table, manifest and store, by what `echofm data index` and `store` call."""
        export = self.folder / f"export of {self.person}"
        cines = export / self.person
        cines.mkdir(parents=True)
        write_secret(export / "site.secret")
        family, first, number, date = self.words
        rows = [f"File of {family},MRN,View,Part,EF"]
        for clip in range(6):
            patient = f"{family}^{first}^{clip}"
            write_jpeg_cine(
                cines / f"{patient} {date}.dcm",
                speckle(8, seed=clip),
                PatientName=patient,
                PatientID=f"{number}{clip}",
                PatientBirthDate=date,
                StudyDate=date,
                InstitutionName=family,
                ReferringPhysicianName=patient,
                SeriesDescription=f"{family} {number}",
            )
            part = "train" if clip < 4 else "test"
            path = f"{self.person}/{patient} {date}.dcm"
            rows.append(f"{path},{number}{clip},{family} view,{part},{35 + 5 * clip}")
        (export / f"patients of {family}.csv").write_text("\n".join(rows) + "\n")
        text = MAPPING.format(site=self.site, name=family)
        (export / "echofm.toml").write_text(text)
        manifest, findings = read_roots([export])
        assert len(manifest) == 6, findings.table().to_csv()
        save_manifest(manifest, self.manifest)
        build_store(manifest, self.store / self.person, PLAN.data)
        self.allow()
        record_approval(self.folder, PLAN)

    def allow(self, **settings: Any) -> None:
        """Write ``site.toml``."""
        values = {"name": self.site, "server": "fl.example.org:443", "policy": {"min_patients": 1}}
        paths = {key: self.node[key] for key in ("manifest", "store", "state")}
        (self.folder / "site.toml").write_text(tomli_w.dumps({**values, **paths, **settings}))

    def without_store(self) -> None:
        shutil.move(self.store, self.folder / "away")

    def with_store(self) -> None:
        shutil.move(self.folder / "away", self.store)

    def damage_store(self) -> None:
        for path in (self.store / self.person).glob("*.json"):
            path.write_text(self.person)

    def change_manifest(self, column: str, dtype: str = "string") -> None:
        """Put the person into a column of the manifest."""
        table = pd.read_parquet(self.manifest)
        save = self.folder / "good.parquet"
        if not save.exists():
            shutil.copy(self.manifest, save)
        table[column] = pd.Series([self.person] * len(table), dtype=dtype)
        table.to_parquet(self.manifest)

    def mend_manifest(self) -> None:
        shutil.copy(self.folder / "good.parquet", self.manifest)


class Watched(InProcessGrid):
    """A grid that keeps the words of all that comes over the wire."""

    def __init__(self, sites: Iterable[Planted]) -> None:
        become_server()
        super().__init__(_Inline("client.app:app"), [site.node for site in sites])
        self.received: list[str] = []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As before."""
        replies = list(super().pull_messages(message_ids))
        for reply in replies:
            self.received.append(str(reply.metadata))
            if reply.has_error():
                self.received.append(f"error: {reply.error.reason}")
                continue
            for name, record in reply.content.items():
                arrays = type(record).__name__ == "ArrayRecord"
                self.received.append(f"{name}: {list(record) if arrays else dict(record)}")
        return replies


@dataclass
class Story:
    """What went wrong before which round."""

    sites: dict[str, Planted]
    lines: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.lines += [event.line(), repr(event)]
        number = event.round if event.kind is EventKind.ROUND else 0
        alpha, beta = self.sites["alpha"], self.sites["beta"]
        if number == 1:
            alpha.without_store()
            beta.change_manifest("view")
        if number == 2:
            alpha.with_store()
            alpha.allow(policy={"privacy": "required"})
            beta.mend_manifest()
            beta.change_manifest(f"column of {beta.person}")
        if number == 3:
            alpha.allow(manifest=[alpha.person])
            beta.mend_manifest()
            beta.change_manifest("ef")
        if number == 4:
            alpha.allow()
            alpha.damage_store()
            beta.manifest.write_text(beta.person)
        if number == ROUNDS:
            beta.mend_manifest()


def searched(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file of a folder by its name, as text; tables as what they hold."""
    for path in sorted(folder.rglob("*")):
        where = str(path.relative_to(folder))
        yield "name", where
        if path.suffix == ".parquet":
            yield where, pd.read_parquet(path).to_csv()
        elif path.is_file():
            yield where, path.read_bytes().decode("latin-1")


def leaks(texts: Iterable[tuple[str, str]]) -> list[str]:
    """Where a planted word stands; dates in the other usual form too."""
    words = {word for person in PLANTED.values() for word in person}
    words |= {f"{date[:4]}-{date[4:6]}-{date[6:]}" for *_, date in PLANTED.values()}
    return [
        f"{word} in {where}: ...{text[max(0, at - 150) : at + 60]}..."
        for where, text in texts
        for word in words
        if (at := text.lower().find(word.lower())) >= 0
    ]


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Planted]:
    made = {name: Planted(name, tmp_path / " ".join(words)) for name, words in PLANTED.items()}
    for site in made.values():
        site.build()
    return made


def test_no_planted_word_reaches_the_coordinator_or_an_audit(
    sites: dict[str, Planted],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert len(leaks(searched(sites["alpha"].folder))) > 20, "they are there to be found"
    caplog.set_level(logging.NOTSET + 1)
    run, story, grid = tmp_path / "coordinator", Story(sites), Watched(sites.values())
    options = RunOptions(floor=True)
    result = run_federation(grid, PLAN, run, on_event=story, options=options)
    conclude(PLAN, run, result, 1.0)
    refused = [
        json.loads(path.read_text())["refused"] for path in sorted((run / "journal").iterdir())
    ]
    assert [sorted(part) for part in refused] == [[]] + 4 * [["alpha", "beta"]]
    kinds = [{site: part[site].split(": ")[2].split(";")[0] for site in part} for part in refused]
    assert kinds[1:] == [
        {"alpha": "StoreError", "beta": "ManifestError"},
        {"alpha": "PolicyError", "beta": "ManifestError"},
        {"alpha": "PlanError", "beta": "ManifestError"},
        {"alpha": "StoreError", "beta": "ManifestError"},
    ]

    last = json.loads((run / "journal" / f"finetune-{ROUNDS:04d}.json").read_text())
    hashes = ChainedLog(sites["gamma"].state / FILE).hashes
    assert hashes.index(last["sites"]["gamma"]["audit_head"]) == ROUNDS, "described, then rounds"
    [session] = json.loads((run / "descriptions.json").read_text())
    assert session["sites"]["gamma"]["audit_head"] == hashes[0]
    tested = json.loads((run / "evaluation.json").read_text())["sites"]
    assert [row["audit_head"] for row in tested if row["site"] == "gamma"] == [hashes[-1]]

    sites["gamma"].without_store()
    failed, again = Watched(sites.values()), tmp_path / "again"
    for site in sites.values():
        site.manifest.write_text(site.person)
    with pytest.raises(FederationError) as ended:
        run_federation(failed, PLAN, again, on_event=story)

    (tmp_path / "server.toml").write_text("")
    release(run, tmp_path / "released", ReleaseOptions(key=tmp_path / "sign.key", licences={}))

    printed = capfd.readouterr()
    texts = [
        *(("wire", words) for words in (*grid.received, *failed.received)),
        *(("event", line) for line in story.lines),
        *(("log", record.getMessage()) for record in caplog.records),
        *(("log", repr(vars(record))) for record in caplog.records),
        ("printed", printed.out + printed.err),
        ("error", "".join(traceback.format_exception(ended.value)).replace(str(tmp_path), "")),
        ("result", repr(result)),
        *searched(run),
        *searched(again),
        *searched(tmp_path / "released"),
        *(("audit", (site.state / FILE).read_text()) for site in sites.values()),
    ]
    assert any("StoreError" in words for where, words in texts if where == "wire")
    assert leaks(texts) == []
    for name in ("alpha", "beta"):
        log = (sites[name].state / "site.log").read_text()
        assert leaks([("site.log", log)]), "the site itself can read what was wrong"
