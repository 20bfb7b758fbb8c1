"""EF and volumes of MIMIC-IV-ECHO's studies, from the structured measurements of their exams.

The table is long (one row a measurement, some 28 million), covers many more exams than the archive
has cines of, and holds the names of two reporting systems. It is read once, row by row; only rows
of the archive's own exams are kept.

* **Which exam.** ``echo-study-list.csv`` of version 1.0 names it. Where the list has no
  ``measurement_id`` (0.1), it is the same patient's transthoracic exam nearest in time, at most two
  days off. Dates are shifted for each patient, all alike, so that differences are true; they are
  read for this difference alone and are not kept.
* **Which rows.** Those of ``test_type`` tte: the cines are of transthoracic studies, and neither a
  stress nor a transoesophageal EF is theirs.
* **Which EF.** Biplane (Simpson, as at the other institutions), else three-dimensional (measured
  too, but its volumes are larger), else the visual estimate ``lvef`` (in steps of five; the middle
  where ``lvef_upper`` makes it a range). Volumes are both of one method. ``lvef_upper`` alone, and
  ranges that reach 100 or are wide, are bounds: public accounts of the table find 100 there where
  no upper end was meant.
* **Which grade of aortic stenosis.** None: velocity, gradient and valve area are graded together by
  a reader who knows the flow, and ``aortic_stenosis`` has other grades than ours.

A result that is no number in the right unit is no label, and is counted.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from echofm_core.data.findings import Severity
from echofm_core.data.readers._mimic_exams import (
    STUDIES,
    Key,
    Method,
    Results,
    StudyList,
    Tally,
    exams_of,
)
from echofm_core.data.readers._results import Form, Result, read_result
from echofm_core.data.readers._source import Source
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import TASKS, Task

STEMS = ("structured-measurement", "structured_measurement")
TABLES = tuple(stem + ending for stem in STEMS for ending in (".csv.gz", ".csv"))
MEASURED = (Method.BIPLANE, Method.THREE_D)
#: Units in lower case. Nothing is assumed where none is written: ml/m2 is another quantity.
UNITS = {
    Task.EF: {"%", "percent"},
    Task.EDV: {"ml", "cc", "cm3"},
    Task.ESV: {"ml", "cc", "cm3"},
}
#: A wider range of EF, in points, says little about its middle.
WIDEST = 20.0

#: Kind whose finding lists names; kinds whose finding is of the study list.
UNKNOWN, OF_STUDIES = "unknown_measurement", ("study_listed_twice", "joined_by_date")
_LEFT, _USED = Severity.REPAIRED, Severity.NOTED
#: Kind of finding -> what becomes of the clips, and what is counted.
REASONS: dict[str, tuple[Severity, str]] = {
    "open_result": (_USED, "Results that bound an EF or a volume without giving it, such as >55"),
    "result_in_words": (_USED, "Results of EF or volumes that are no number"),
    "unknown_unit": (_LEFT, "Results that are not in % (EF) or ml (volumes), or say no unit"),
    "wide_range": (_LEFT, "Ranges of EF that run downwards, or too wide for their middle to count"),
    "label_out_of_range": (_LEFT, "Results outside the legal range"),
    "results_differ": (_LEFT, "Measurements of one exam with several results"),
    "esv_exceeds_edv": (_LEFT, "Exams with an ESV above their EDV, of which nothing is used"),
    UNKNOWN: (_USED, "Results with names like that of an EF or a volume"),
    "other_exam_type": (_USED, "Results of a study from a stress or transoesophageal exam"),
    "exam_without_cines": (_USED, "Results of EF or volumes from exams that have no cine here"),
    "study_listed_twice": (_LEFT, "Studies listed with a second exam, which is not used"),
    "joined_by_date": (_USED, "Studies joined with the nearest exam within two days"),
}


def study_labels(source: Source, patients: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Labels ``ef``, ``edv``, ``esv`` of the studies whose exam has them.

    Args:
        source: Without a table of measurements there are no labels. What is wrong is one finding
            a kind, with a count.
        patients: Study -> patient, of the studies that have a cine.
    """
    table = next(filter(Path.is_file, map(source.root.joinpath, TABLES)), None)
    if table is None:
        return {}
    tally = Tally()
    try:
        studies = StudyList.read(source.root / STUDIES, patients, tally)
    except DataRootError as error:
        source.repaired("bad_table", STUDIES, f"{error} No measurement is joined.")
        return {}
    chosen, exams = exams_of(table, studies, source, tally)
    labels = {who: labels_of(results, tally) for who, results in exams.items()}
    for kind, (severity, what) in REASONS.items():
        if count := tally.counts[kind]:
            names = f" ({', '.join(sorted(tally.names))})" if kind == UNKNOWN else ""
            item = STUDIES if kind in OF_STUDIES else table.name
            reason = f"{what}: {count}{names}."
            source.findings.add(source.dataset, kind, item, reason, severity)
    return {study: labels[who] for study, who in chosen.items() if who in labels}


def labels_of(results: Results, tally: Tally) -> dict[str, float]:
    """Labels of one exam; what cannot be used is counted."""
    read = {
        key: result
        for key, written in results.items()
        if (result := _read(key[1], written, tally)) is not None
    }
    upper = read.pop((Method.UPPER, Task.EF), None)
    visual = read.get((Method.VISUAL, Task.EF))
    if upper is not None and visual is None:
        tally.counts["open_result"] += 1
    elif upper is not None and visual is not None and visual.low == visual.high:
        read[Method.VISUAL, Task.EF] = replace(visual, high=upper.high)
    values = {
        key: value
        for key, result in read.items()
        if (value := _middle(key[1], result, tally)) is not None
    }
    labels = _preferred(values)
    if labels.get("esv", 0) > labels.get("edv", float("inf")):
        tally.counts["esv_exceeds_edv"] += 1
        return {}
    return labels


def _preferred(values: Mapping[Key, float]) -> dict[str, float]:
    """Of each label the value by the best method; volumes by the same method."""
    labels = {}
    for method in reversed((*MEASURED, Method.VISUAL)):  # the best one last
        if (method, Task.EF) in values:
            labels["ef"] = values[method, Task.EF]
    for method in MEASURED:
        volumes = {task: values.get((method, task)) for task in (Task.EDV, Task.ESV)}
        if found := {task.value: value for task, value in volumes.items() if value is not None}:
            return labels | found
    return labels


def _read(task: Task, written: set[tuple[str, str]], tally: Tally) -> Result | None:
    """The one number or range, in a legal unit, that is written; else None, and counted."""
    results = {
        replace(result, unit=" ".join(sorted({unit.strip().lower(), result.unit} - {""})))
        for text, unit in written
        if (result := read_result(text)).form is not Form.BLANK
    }
    if len(results) != 1:
        tally.counts["results_differ"] += len(results) > 1
        return None
    (result,) = results
    if result.form is Form.NUMBER and result.unit in UNITS[task]:
        return result
    kinds = {Form.OPEN: "open_result", Form.WORDS: "result_in_words"}
    tally.counts[kinds.get(result.form, "unknown_unit")] += 1
    return None


def _middle(task: Task, result: Result, tally: Tally) -> float | None:
    """Middle of a range, a number as it is; None, and counted, where that is no legal label."""
    spec = TASKS[task]
    if result.low is None or result.high is None:
        return None
    ranging = task is Task.EF and result.low != result.high
    if ranging and not (
        result.low < result.high < spec.high and result.high - result.low <= WIDEST
    ):
        tally.counts["wide_range"] += 1
        return None
    value = (result.low + result.high) / 2
    if spec.low <= value <= spec.high:
        return value
    tally.counts["label_out_of_range"] += 1
    return None
