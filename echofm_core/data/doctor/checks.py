"""What only shows when clips are seen together, or decoded: each check notes, none discards."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from echofm_core.data.dicom.text import LIT
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.store.clip_store import ClipStore

#: Percentage points by which EF may differ from what its volumes give: rounding of all three.
EF_TOLERANCE = 2.0
#: Frame rates outside this range, in Hz, are hardly those of an echo cine.
FRAME_RATES = (8.0, 250.0)

#: Clip id -> how findings name it.
Items = Mapping[str, str]


def check_labels(manifest: pd.DataFrame, items: Items, findings: Findings) -> None:
    """Note EF that does not follow from the volumes: EF = 100 (EDV - ESV) / EDV."""
    expected = 100 * (manifest["edv"] - manifest["esv"]) / manifest["edv"]
    off = ((manifest["ef"] - expected).abs() > EF_TOLERANCE).fillna(False)
    for row, volumes in zip(manifest[off].itertuples(), expected[off], strict=True):
        reason = f"EF is {row.ef:.1f} %, the volumes give {volumes:.1f} %; used as it is."
        _note(findings, row, "ef_disagrees", items, reason)


def check_frame_rates(manifest: pd.DataFrame, items: Items, findings: Findings) -> None:
    """Note frame rates that no scanner has."""
    slow, fast = FRAME_RATES
    odd = manifest["fps"].notna() & ~manifest["fps"].between(slow, fast)
    for row in manifest[odd.fillna(False)].itertuples():
        reason = f"{row.fps:g} frames a second is outside [{slow:g}, {fast:g}]; used as it is."
        _note(findings, row, "odd_frame_rate", items, reason)


def check_pictures(
    manifest: pd.DataFrame, store: ClipStore, items: Items, findings: Findings
) -> None:
    """Note clips in which nothing is lit, or nothing moves.

    Stills stacked as a clip (PNG) are not asked to move.
    """
    for row in manifest[manifest["clip_id"].isin(store.index.index)].itertuples():
        frames = store.frames(str(row.clip_id))
        if not (frames >= LIT).any():
            reason = "Every frame is black; it teaches nothing."
            _note(findings, row, "blank_clip", items, reason)
        elif (
            len(frames) > 1
            and not str(row.path).lower().endswith(".png")
            and all((frame == frames[0]).all() for frame in frames[1:])
        ):
            reason = "Every frame is the same; no motion can be read from it."
            _note(findings, row, "frozen_clip", items, reason)


def check_duplicates(
    manifest: pd.DataFrame, store: ClipStore, items: Items, findings: Findings
) -> None:
    """Note clips whose decoded frames equal those of an earlier clip, bit for bit.

    Two names for one recording are worst where one trains and the other tests.
    """
    rows = manifest[manifest["clip_id"].isin(store.index.index)]
    hashes = rows["clip_id"].map(store.index["content_hash"])
    first: dict[str, Any] = {}
    for again, content in zip(rows.itertuples(), hashes, strict=True):
        before = first.setdefault(str(content), again)
        if before is again or not (store.frames(str(again.clip_id)) >= LIT).any():
            continue  # black clips are equal, and have their own finding
        reason = f"The frames are those of {before.dataset} {items[str(before.clip_id)]}"
        splits = {again.split, before.split}
        if len(splits) == 2 and not pd.isna(list(splits)).any():
            reason += f", which is in another split ({before.split}, this: {again.split})"
        elif again.patient_id != before.patient_id:
            reason += ", which is said to be another patient"
        _note(findings, again, "duplicate_content", items, f"{reason}.")


def _note(findings: Findings, row: Any, kind: str, items: Items, reason: str) -> None:
    findings.add(str(row.dataset), kind, items[str(row.clip_id)], reason, Severity.NOTED)
