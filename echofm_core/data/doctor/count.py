"""Counting: from the tables of a diagnosis to its numbers."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from echofm_core.data.doctor.examine import Diagnosis
from echofm_core.data.doctor.numbers import Count, Kind, Part, Shared, Spread, Summary
from echofm_core.data.findings import Severity
from echofm_core.data.manifest import Split
from echofm_core.data.reasons import Reason, merged
from echofm_core.tasks import AS_CLASSES, AS_GRADES, VIEWS

#: EF in percent below which it is reduced.
REDUCED_EF = 50.0
#: Lower ends of frame-rate bands in Hz; common rates (24, 25, 30, 50) lie within a band.
BANDS = (0.0, 15.0, 22.0, 35.0, 45.0, 55.0, 75.0, 100.0)
BAND_NAMES = (
    f"under {BANDS[1]:g}",
    *(f"{low:g}-{high:g}" for low, high in pairwise(BANDS[1:])),
    f"over {BANDS[-1]:g}",
)
LABELS = {"EF": "ef", "EDV": "edv", "ESV": "esv", "AS grade": "as_grade", "AS class": "as_class"}

#: Group of counts -> its title, and values in the order shown; others follow, the most frequent
#: first.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "view": ("view", VIEWS),
    "split": ("split", tuple(split.value for split in Split)),
    "label": ("label", tuple(LABELS)),
    "as_grade": ("grade of aortic stenosis", AS_GRADES),
    "as_class": ("class of aortic stenosis", AS_CLASSES),
    "frame_rate": ("frame rate (Hz)", BAND_NAMES),
    "scanner": ("scanner", ()),
    "sex": ("sex", ("F", "M")),
    "quality": ("quality", ()),
}
#: Quantity -> title, unit, decimals.
QUANTITIES: dict[str, tuple[str, str, int]] = {
    "ef": ("EF", "%", 1),
    "edv": ("EDV", "ml", 1),
    "esv": ("ESV", "ml", 1),
    "age": ("age", "years", 1),
    "fps": ("frame rate", "Hz", 1),
    "frames": ("frames", "", 0),
    "seconds": ("duration", "s", 2),
    "height": ("height", "pixels", 0),
    "width": ("width", "pixels", 0),
    "grey": ("grey level in the sector", "0 to 255", 1),
    "sector": ("sector", "share of the frame", 2),
}
#: Quantities that only a decoded clip has.
MEASURED = ("grey", "sector")


def quantities(manifest: pd.DataFrame, decoded: pd.DataFrame) -> pd.DataFrame:
    """Dataset and :data:`QUANTITIES` of each clip, float, NaN unknown.

    Frames are those decoded, else those declared; frame rate and size are the readers', who know
    more of a source than its container, else the container's. Seconds follow from both where they
    are not given. A clip that was not decoded has no ``grey`` and ``sector``.

    Args:
        manifest: One row a clip.
        decoded: See :class:`echofm_core.data.doctor.examine.Diagnosis`.
    """
    seen = decoded.reindex(index=manifest["clip_id"].astype(object)).reset_index(drop=True)
    rows = manifest.reset_index(drop=True)
    table = pd.DataFrame({"dataset": rows["dataset"].astype(object)})
    for name in QUANTITIES:
        own = _numbers(rows.get("n_frames" if name == "frames" else name), len(rows))
        measured = _numbers(seen.get(name), len(rows))
        first, second = (measured, own) if name == "frames" else (own, measured)
        table[name] = np.where(np.isfinite(first), first, second)
    lasting = table["frames"] / table["fps"].where(table["fps"] > 0)
    table["seconds"] = table["seconds"].fillna(lasting)
    return table.assign(decoded=manifest["clip_id"].isin(decoded.index).to_numpy(dtype=bool))


def summary(diagnosis: Diagnosis) -> Summary:
    """Count everything, once."""
    manifest, findings = diagnosis.manifest, diagnosis.findings
    values = quantities(manifest, diagnosis.decoded)
    parts = []
    for name in sorted({str(name) for table in (manifest, findings) for name in table["dataset"]}):
        here = (manifest["dataset"] == name).to_numpy(dtype=bool)
        found = findings.loc[findings["dataset"] == name, "severity"].value_counts()
        parts.append(_part(name, name in diagnosis.public, manifest[here], values[here], found))
    return Summary(
        synthetic=diagnosis.synthetic,
        parts=tuple(parts),
        kinds=_kinds(findings),
        shared=_shared(manifest),
    )


def _part(
    dataset: str, public: bool, rows: pd.DataFrame, values: pd.DataFrame, found: pd.Series
) -> Part:
    """Numbers of one data set: of its clips, of their :func:`quantities`, and of its findings."""
    ef = values["ef"].dropna()
    seen = values[values["decoded"]]
    return Part(
        dataset=dataset,
        public=public,
        clips=len(rows),
        patients=int(rows["patient_id"].nunique()),
        # A hospital may number the visits of each patient from one.
        studies=len(rows[["patient_id", "study_id"]].dropna().drop_duplicates()),
        decoded=len(seen),
        **{severity.value: int(found.get(severity.value, 0)) for severity in Severity},
        reduced_ef=round(float((ef < REDUCED_EF).mean()), 4) if len(ef) else None,
        counts=_groups(rows, values["fps"]),
        spreads={name: spread((seen if name in MEASURED else values)[name]) for name in QUANTITIES},
    )


def _groups(rows: pd.DataFrame, fps: pd.Series) -> dict[str, tuple[Count, ...]]:
    scanners = (rows["vendor"].fillna("") + " " + rows["model"].fillna("")).str.strip()
    columns = {
        "view": rows["view"],
        "split": rows["split"],
        "as_grade": rows["as_grade"].map(dict(enumerate(AS_GRADES))),
        "as_class": rows["as_class"].map(dict(enumerate(AS_CLASSES))),
        "frame_rate": pd.cut(fps, [*BANDS, np.inf], right=False, labels=list(BAND_NAMES)),
        "scanner": scanners.mask(scanners == ""),
        "sex": rows["sex"],
        "quality": rows["quality"],
    }
    found = {group: count(values, GROUPS[group][1]) for group, values in columns.items()}
    found["label"] = tuple(Count(name, int(rows[key].count())) for name, key in LABELS.items())
    return {group: found[group] for group in GROUPS}


def count(values: pd.Series, order: Sequence[str] = ()) -> tuple[Count, ...]:
    """Clips by value: in the order given, then the most frequent first; the unknown last."""
    counts = {str(value): int(clips) for value, clips in values.value_counts().items() if clips}
    place = {name: number for number, name in enumerate(order)}
    names = sorted(counts, key=lambda name: (place.get(name, len(order)), -counts[name], name))
    unknown = int(values.isna().sum())
    return (*(Count(name, counts[name]) for name in names), *[Count(None, unknown)] * bool(unknown))


def spread(values: pd.Series) -> Spread:
    """Distribution of finite values, rounded to four decimals; others count as missing."""
    every = values.to_numpy(dtype=float)
    known = every[np.isfinite(every)]
    missing = len(every) - len(known)
    if not len(known):
        return Spread(n=0, missing=missing)
    low, p5, median, p95, high = np.percentile(known, (0, 5, 50, 95, 100)).round(4).tolist()
    return Spread(
        n=len(known), missing=missing, low=low, p5=p5, median=median, p95=p95, high=high,
        mean=round(float(known.mean()), 4),
        sd=round(float(known.std(ddof=1)), 4) if len(known) > 1 else None,
    )  # fmt: skip


def _kinds(findings: pd.DataFrame) -> tuple[Kind, ...]:
    """Findings by data set and kind, worst severity first, then the most frequent."""
    order = [severity.value for severity in Severity]
    groups = findings.groupby(["dataset", "kind", "severity"], observed=True, sort=True)
    found = [
        Kind(
            dataset=str(dataset), kind=str(kind), severity=str(severity), count=len(rows),
            item=str(rows["item"].iloc[0]), reasons=merged(map(Reason, rows["reason"])),
        )
        for (dataset, kind, severity), rows in groups
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda kind: (order.index(kind.severity), -kind.count)))


def _shared(manifest: pd.DataFrame) -> tuple[Shared, ...]:
    """Patient ids that are in two splits of a data set, or in two data sets."""
    homes = manifest[["dataset", "split", "patient_id"]].astype(object).drop_duplicates()
    homes = homes[homes["patient_id"].duplicated(keep=False)].fillna({"split": ""})
    pairs: Counter[tuple[tuple[str, str], tuple[str, str]]] = Counter()
    for _, rows in homes.groupby("patient_id"):
        pairs.update(combinations(sorted(zip(rows["dataset"], rows["split"], strict=True)), 2))
    return tuple(
        Shared(
            dataset=dataset, split=split or None, other_dataset=other, other_split=there or None,
            patients=patients,
        )
        for ((dataset, split), (other, there)), patients in sorted(pairs.items())
        if dataset != other or (split and there)  # no split beside a split is no leak
    )  # fmt: skip


def _numbers(column: pd.Series | None, length: int) -> np.ndarray:
    if column is None:
        return np.full(length, np.nan)
    return column.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
