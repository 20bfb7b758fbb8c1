"""Official splits that contradict each other: a patient belongs to one."""

from collections import defaultdict

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import Split

#: Splits by how much is held out.
HELD_OUT = (Split.TRAIN, Split.VALIDATION, Split.TEST)


def most_held_out(
    rows: list[dict[str, object]], dataset: str, findings: Findings
) -> list[dict[str, object]]:
    """Rows in which every patient has one split: of several, the one that is held out most."""
    found: dict[object, set[Split]] = defaultdict(set)
    for row in rows:
        if row.get("split") is not None:
            found[row["patient_id"]].add(Split(str(row["split"])))
    taken = {patient: max(splits, key=HELD_OUT.index) for patient, splits in found.items()}
    for patient, splits in found.items():
        if len(splits) > 1:
            reason = f"The patient is in more than one split; taken as {taken[patient].value}."
            findings.add(dataset, "patient_in_two_splits", str(patient), reason, Severity.REPAIRED)
    return [{**row, "split": taken.get(row["patient_id"])} for row in rows]
