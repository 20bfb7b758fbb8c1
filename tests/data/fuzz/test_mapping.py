"""The mapping file of a hospital's own data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.readers.generic import GenericReader
from echofm_core.runtime.errors import DataRootError
from tests.data.files import speckle, write_avi
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import pick
from tests.data.fuzz.text import TEXT

WITH_TABLE = """dataset = "infirmary"
secret = "site.secret"
table = "export.csv"
[columns]
path = "File"
patient_id = "MRN"
view = "View"
ef = "EF (%)"
age = "Age"
fps = "Rate"
split = "Part"
[views]
A4C = ["4ch", "apical four"]
[splits]
train = ["1", "2"]
"""
WITHOUT = """dataset = "infirmary"
secret = 'site.secret'
patient = '(?P<patient>[^/_]+)_[0-9]+\\.avi$'
"""
TABLE = (
    "File,MRN,View,EF (%),Age,Rate,Part\ndoe_1.avi,zebra1,4CH,55.5,61,40,1\ndoe_2.avi,zebra2,,,,,\n"
)
#: What a string may become: other files and folders, columns, words, patterns.
VALUES = (
    b"", b".", b"..", b"/", b"/dev/null", b"export.csv", b"site.secret", b"File",
    b"MRN", b"Rate", b"A4C", b"train", b"(?P<patient>.*)", b"(?P<patient>a|b)", b"[", b"a" * 150,
    b"\\u0000", b"\\u001b[31m", b"\\ud800", b"zzz",
)  # fmt: skip


def plant(folder: Path) -> list[Seed]:
    seeds = []
    for name, mapping in (("with", WITH_TABLE), ("without", WITHOUT)):
        root = folder / name
        root.mkdir()
        (root / "site.secret").write_text("ab" * 32 + "\n")
        (root / "export.csv").write_text(TABLE)
        (root / "echofm.toml").write_text(mapping)
        for take in (1, 2):
            write_avi(root / f"doe_{take}.avi", speckle(2, 16, 16))
        read = GenericReader().read
        seeds.append(Seed(file=root / "echofm.toml", root=root, read=read))
    return seeds


def value(data: bytes, rng: np.random.Generator) -> bytes:
    """One string becomes another."""
    found = list(re.finditer(rb'"[^"\n]*"', data))
    if not found:
        return data
    match = pick(found, rng)
    return data[: match.start()] + b'"' + pick(VALUES, rng) + b'"' + data[match.end() :]


FORMAT = Format(
    name="mapping", plant=plant, own=0.9, mutators=(*[value] * 12, *TEXT), secrets=("doe_", "zebra")
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('dataset = "infirmary"', "dataset = " + "[" * 5000),
        ('dataset = "infirmary"', "dataset = " + "9" * 5000),
        ('secret = "site.secret"', 'secret = "\\u0000"'),
        ('table = "export.csv"', 'table = "\\u0000"'),
        ('table = "export.csv"', f'table = "{"x" * 5000}"'),
        ('table = "export.csv"', 'table = "."'),
        ('table = "export.csv"', 'patient = "(?P<patient>a{99999999999})"'),
        ('table = "export.csv"', 'patient = "' + "(" * 5000 + '"'),
        ('path = "File"', f'path = "{"x" * 5000}"'),
        ('path = "File"', f'{"x" * 5000} = "File"'),
    ],
)
def test_a_mapping_that_lies_is_one_sentence(tmp_path: Path, old: str, new: str) -> None:
    root = plant(tmp_path)[0].root
    (root / "echofm.toml").write_text(WITH_TABLE.replace(old, new))
    with pytest.raises(DataRootError) as caught:
        GenericReader().read(root)
    assert len(str(caught.value)) < 600
