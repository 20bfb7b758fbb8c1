"""One rule says what a site may be called, wherever a name is met."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from client.enroll import enroll
from client.launch import load_site
from echofm_core.contract import SiteDescription
from echofm_core.runtime.errors import ManifestError, PlanError, RefusedUpdateError
from echofm_core.runtime.names import site_name_fault
from server.members import admit, site_names
from server.provision import provision
from server.reception import check_description
from simulations.prepare import prepare_sites
from tests.federation.small import small_plan
from tests.support.hospitals import hospital, joined

LEGAL = ("n", "North", "st.mary_2-b", "0", "n" * 64)
ILLEGAL = ("", "-north", "_north", ".north", "n" * 65, "Köln", "٣", "a b", "../x", "a\n", "<b>")
RESERVED = ("all",)


def described(name: str, **counts: int) -> SiteDescription:
    values = {"train_clips": 2, "train_patients": 2, "quarantined": 0, **counts}
    return SiteDescription(site=name, labels={"ef": 2}, test_labels={}, **values)


def site_file(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    paths = {"manifest": "m", "store": "s", "state": "t"}
    text = tomli_w.dumps({"name": name, "server": "fl:443", **paths})
    (folder / "site.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", LEGAL)
def test_a_legal_name_is_taken_everywhere(name: str, tmp_path: Path) -> None:
    """The folder that a site makes from the kit is one that it can load."""
    assert site_name_fault(name) == ""
    kit = joined(provision(tmp_path / "fed", "127.0.0.1", 8000)[0], name)
    assert site_names(kit) == [name]
    assert load_site(hospital(kit, name)).name == name
    check_description(described(name))


@pytest.mark.parametrize("name", ILLEGAL + RESERVED)
def test_an_illegal_name_is_refused_everywhere(name: str, tmp_path: Path) -> None:
    why = "stands for all sites" if name in RESERVED else "is not a plain name"
    assert why in site_name_fault(name)
    kit, _ = provision(tmp_path / "fed", "127.0.0.1", 8000)
    with pytest.raises(PlanError, match=why):
        enroll(kit.handout, name, tmp_path / "hospital")
    assert not (tmp_path / "hospital").exists()
    with pytest.raises(PlanError, match=why):
        admit(kit, name, "ecdsa-sha2-nistp384 AAAA")
    assert site_names(kit) == []
    with pytest.raises(PlanError, match=f"`name`: .*{why}"):
        load_site(site_file(tmp_path / "kit", name))
    if name not in RESERVED:  # the simulation's pooled arm is called so
        with pytest.raises(RefusedUpdateError, match=why):
            check_description(described(name))


def test_a_simulated_site_obeys_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release may name its hospitals as it likes; such a name would become a folder."""
    import pandas as pd

    from echofm_core.data import prepare as reading
    from simulations import prepare

    placed = pd.DataFrame({"site": ["camus", "../x"]})
    monkeypatch.setattr(reading, "read", lambda *_: (placed, None))
    monkeypatch.setattr(prepare, "assign_sites", lambda manifest, *_, **__: manifest)
    with pytest.raises(ManifestError, match=r"'\.\./x' is not a plain name"):
        prepare_sites(small_plan(), tmp_path)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=8))
def test_a_legal_name_is_one_step_of_a_path(name: str) -> None:
    if not site_name_fault(name):
        assert (Path("/kits") / name).resolve().parent == Path("/kits")


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        (described("alpha", train_clips=-5), "training clips is -5"),
        (described("alpha", quarantined=-1), "quarantined files is -1"),
        (described("alpha", min_patients=-1), "fewest patients is -1"),
        (described("alpha", policy_hash="Doe^John"), "hash of its policy is 'Doe"),
        (described("alpha", software="Doe^John 1.0"), "its software 'Doe.John 1.0' is no list"),
        (described("alpha", train_patients=3), "3 training patients and 2 clips"),
        (described("alpha", train_clips=1, train_patients=1), "2 training labels of ef and 1 clip"),
    ],
)
def test_a_description_that_cannot_be_is_refused(about: SiteDescription, sentence: str) -> None:
    with pytest.raises(RefusedUpdateError, match=sentence):
        check_description(about)
