"""A split in the forms that other frameworks read.

* ``split.csv`` and ``sites/SITE/{train,val,test}.csv``: RFC 4180, UTF-8, line feeds, missing empty;
  for pandas, PyTorch and everything else.
* ``README.md``: a dataset card with one configuration a site and one, ``all``, of all; read by
  Hugging Face ``datasets`` and through it by Flower Datasets. Columns are typed there, because ids
  such as ``0012`` would be taken for numbers.
* ``datalists/SITE.json``: lists ``training``, ``validation``, ``testing``; read by MONAI's
  ``load_decathlon_datalist``, and by NVFlare's MONAI examples, which look for CLIENT.json.
"""

import json
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from echofm_core.data.manifest import COLUMNS as MANIFEST_COLUMNS
from echofm_core.data.manifest import Split
from echofm_core.tasks import VIEWS

COLUMNS = (
    "dataset", "site", "split", "patient_id", "study_id", "clip_id", "path",
    "ef", "edv", "esv", "as_grade", "as_class", "view", "fps", "n_frames",
)  # fmt: skip
#: Columns that tasks are learnt from; reduced EF is by EF.
LABELS = ("ef", "edv", "esv", "as_grade", "as_class", "view")
#: What a data list gives beside the picture; numbers only, for MONAI takes text for a path.
NUMBERS = ("ef", "edv", "esv", "as_grade", "as_class", "fps", "n_frames")
#: Our word for a split -> that of MONAI and NVFlare, that of Hugging Face.
DATALIST_KEYS = {Split.TRAIN: "training", Split.VALIDATION: "validation", Split.TEST: "testing"}
CARD_KEYS = {Split.TRAIN: "train", Split.VALIDATION: "validation", Split.TEST: "test"}

_SPECIAL = re.compile('[",\r\n]')
_CARD = """---
configs:
{configs}
---

# Sites and splits

{caveat}

Written by `echofm data export-split`; `split.json` says how, and counts clips and patients.
**Keep this folder where the data is**: it tells who was examined, and most echo data sets forbid
passing on.

```python
pandas.read_csv("sites/{site}/train.csv", dtype={{"patient_id": str, "study_id": str}})
datasets.load_dataset(FOLDER, "{site}")  # Hugging Face; "all" is every site
FederatedDataset(dataset=FOLDER, subset="all",  # Flower Datasets
                 partitioners={{"train": NaturalIdPartitioner(partition_by="site")}})
{datalist}```

In `path`, the stills of one study are joined by `{separator}`. `as_grade` counts from 0 (none) to 4
(severe). In data lists a missing label is left out, and `view` is its place in {views}.
"""
_DATALIST = (
    'monai.data.load_decathlon_datalist("datalists/{site}.json", False, "training")'
    '  # "validation", "testing"\n'
)


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """``COLUMNS`` as text, missing "": floats at single precision, as short as they read back."""
    return pd.DataFrame({name: _texts(table[name]) for name in COLUMNS}, dtype=object)


def _texts(values: pd.Series) -> list[str]:
    missing = values.isna().tolist()
    if MANIFEST_COLUMNS[str(values.name)].startswith("Float"):
        known = values.to_numpy(dtype=np.float32, na_value=np.nan)
    else:
        known = values.to_numpy(dtype=object)
    return ["" if gone else str(value) for gone, value in zip(missing, known, strict=True)]


def csv_text(texts: pd.DataFrame) -> str:
    """A whole CSV file. Not by :mod:`csv`, which leaves a lone carriage return unquoted."""
    columns = [[_quoted(cell) for cell in texts[name]] for name in COLUMNS]
    lines = [",".join(COLUMNS), *map(",".join, zip(*columns, strict=True))]
    return "\n".join(lines) + "\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell


def write_tables(texts: pd.DataFrame, folders: Mapping[str, str], out: Path) -> None:
    """``split.csv``, and three files a site, with a header alone where a split has no clip."""
    _write(out / "split.csv", csv_text(texts))
    for site, folder in folders.items():
        rows = texts[texts["site"] == site]
        for split in Split:
            file = out / "sites" / folder / f"{split.value}.csv"
            _write(file, csv_text(rows[rows["split"] == split.value]))


def write_datalists(texts: pd.DataFrame, folders: Mapping[str, str], out: Path) -> None:
    """One data list a site; labels that a clip lacks are left out of its entry."""
    for site, folder in folders.items():
        lists: dict[str, list[dict[str, object]]] = {key: [] for key in DATALIST_KEYS.values()}
        for row in texts[texts["site"] == site].to_dict("records"):
            lists[DATALIST_KEYS[row["split"]]].append(_entry(row))
        _write(out / "datalists" / f"{folder}.json", json.dumps(lists, indent=1) + "\n")


def _entry(row: Mapping[Hashable, str]) -> dict[str, object]:
    path = row["path"]  # maybe relative: stills alone are several files
    images = path.split(os.pathsep) if path.lower().endswith(".png") else [path]
    entry: dict[str, object] = {"image": images[0] if len(images) == 1 else images}
    entry["clip_id"] = row["clip_id"]
    for name in NUMBERS:
        if row[name]:
            whole = MANIFEST_COLUMNS[name].startswith("Int")
            entry[name] = int(row[name]) if whole else float(row[name])
    if row["view"]:
        entry["view"] = VIEWS.index(row["view"])
    return entry


def write_card(
    texts: pd.DataFrame, folders: Mapping[str, str], caveat: str, out: Path, *, datalists: bool
) -> None:
    """``README.md``; splits without a clip are not named there, for ``datasets`` refuses them."""
    filled = set(zip(texts["site"], texts["split"], strict=True))
    configs = [("all", list(folders)), *((folder, [site]) for site, folder in folders.items())]
    blocks = []
    for name, sites in configs:
        taken = {
            key: [f"sites/{folders[s]}/{split}.csv" for s in sites if (s, split) in filled]
            for split, key in CARD_KEYS.items()
        }
        blocks += _config(name, taken)
    first = next(iter(folders.values()))
    text = _CARD.format(
        configs="\n".join(blocks),
        caveat=caveat,
        site=first,
        datalist=_DATALIST.format(site=first) if datalists else "",
        separator=os.pathsep,
        views=", ".join(VIEWS),
    )
    _write(out / "README.md", text)


def _config(name: str, files: Mapping[str, Sequence[str]]) -> list[str]:
    """One configuration, YAML; JSON strings are YAML strings, and keep ``no`` from being false."""
    lines = [f"- config_name: {json.dumps(name)}", "  data_files:"]
    for key, paths in files.items():
        if paths:
            lines += [f"  - split: {key}", f"    path: {json.dumps(paths)}"]
    lines.append("  features:")
    for column in COLUMNS:
        # Whole numbers too: as integers, pandas could not leave one out.
        kind = "string" if MANIFEST_COLUMNS[column] == "string" else "float64"
        lines.append(f"  - {{name: {column}, dtype: {kind}}}")
    return [*lines, "  keep_default_na: false", '  na_values: [""]']


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
