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

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import product
from pathlib import Path

from echofm_core.data.findings import Severity
from echofm_core.data.readers._results import Form, Result, read_result
from echofm_core.data.readers._source import Source
from echofm_core.data.readers._tables import read_table, stream_columns
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import TASKS, Task

STUDIES = "echo-study-list.csv"
TABLES = tuple(f"structured{dash}measurement{end}" for dash in "-_" for end in (".csv.gz", ".csv"))
COLUMNS = ("subject_id", "measurement_id", "test_type", "measurement", "result", "unit")
TIME = "measurement_datetime"
TRANSTHORACIC = "tte"
#: Results of one measurement of one exam, and unknown names, that are kept: more are damage.
MOST = 8
#: An exam this far from a study is not its exam; the publisher's own bound.
FARTHEST = timedelta(days=2)
#: Units in lower case. Nothing is assumed where none is written: ml/m2 is another quantity.
_ML = {"ml", "cc", "cm3"}
UNITS = {Task.EF: {"%", "percent"}, Task.EDV: _ML, Task.ESV: _ML}
#: A wider range of EF, in points, says little about its middle.
WIDEST = 20.0
#: Names whose meaning is remembered; the table has some 650.
MOST_NAMES = 4096
_ALIKE = re.compile(r"lv_?(ef|edv|esv)|(^|_)ef(_|$)|ejection_frac|(di|sy)astolic_vol")

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


class Method(StrEnum):
    """How a value came about."""

    BIPLANE = "biplane"
    """Simpson's rule in two views."""
    THREE_D = "3d"
    VISUAL = "visual"
    """Estimated by the reader."""
    UPPER = "upper"
    """Upper end of a visual estimate."""


#: Ways to measure, the best one first.
MEASURED = (Method.BIPLANE, Method.THREE_D)
#: What was measured, and how.
Key = tuple[Method, Task]
#: Name -> key. In public use: lvef and lvef_upper of the one system; biplane_lvef, lvef_3d,
#: biplane_lvedv, lvedv_3d and so on of the other. Both orders of the words are taken.
NAMES: dict[str, Key] = {"lvef": (Method.VISUAL, Task.EF), "lvef_upper": (Method.UPPER, Task.EF)}
for _method, _task in product(MEASURED, (Task.EF, Task.EDV, Task.ESV)):
    for _name in (f"{_method}_lv{_task}", f"lv{_task}_{_method}"):
        NAMES[_name] = (_method, _task)
#: Patient and number of an exam.
ExamId = tuple[str, str]
#: Study -> patient and shifted time.
Dated = dict[str, tuple[str, datetime]]
#: What an exam's rows say: texts of result and unit.
Results = dict[Key, set[tuple[str, str]]]


@dataclass(slots=True)
class Tally:
    """What was left, counted: where thousands could come, one finding says how many."""

    counts: Counter[str] = field(default_factory=Counter)
    """By kind of finding."""
    names: set[str] = field(default_factory=set)
    """Measurements that look like an EF or a volume, and are not known."""


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
        named, dated = _study_list(source.root / STUDIES, patients, tally)
    except DataRootError as error:
        source.repaired("bad_table", STUDIES, f"{error} No measurement is joined.")
        return {}
    chosen, exams = _exams(table, named, dated, source, tally)
    labels = {who: labels_of(results, tally) for who, results in exams.items()}
    for kind, (severity, what) in REASONS.items():
        if count := tally.counts[kind]:
            names = f" ({', '.join(sorted(tally.names))})" if kind == UNKNOWN else ""
            item = STUDIES if kind in OF_STUDIES else table.name
            reason = f"{what}: {count}{names}."
            source.findings.add(source.dataset, kind, item, reason, severity)
    return {study: labels[who] for study, who in chosen.items() if who in labels}


def _study_list(
    file: Path, patients: Mapping[str, str], tally: Tally
) -> tuple[dict[str, ExamId], Dated]:
    """Exam of each study that has a cine; where the list names none at all, the studies' times.

    Raises:
        DataRootError: It cannot be read, or has neither exams nor times.
    """
    table, named = read_table(file, ("study_id",)), dict[str, ExamId]()
    for row in table.rows:
        study, exam = row["study_id"], row.get("measurement_id", "").removesuffix(".0")
        if study in patients and exam:
            first = named.setdefault(study, (patients[study], exam))
            tally.counts["study_listed_twice"] += first[1] != exam
    if any(row.get("measurement_id") for row in table.rows):
        return named, {}
    dated: Dated = {}
    for row in read_table(file, ("study_id", "study_datetime")).rows:
        study = row["study_id"]
        if study in patients and (time := _time(row["study_datetime"])):
            dated.setdefault(study, (patients[study], time))
    return {}, dated


def _exams(
    table: Path, named: dict[str, ExamId], dated: Dated, source: Source, tally: Tally
) -> tuple[dict[str, ExamId], dict[ExamId, Results]]:
    """Exam of each study that has one, and the results of those exams.

    The table of measurements is read once; what was read before it is damaged counts.
    """
    exams: dict[ExamId, Results] = defaultdict(lambda: defaultdict(set))
    times: dict[ExamId, datetime | None] = {}
    wanted, patients = set(named.values()), {patient for patient, _ in dated.values()}
    by_date, counts = bool(dated), tally.counts
    columns = (*COLUMNS, TIME) if by_date else COLUMNS
    try:
        for patient, exam, kind, name, result, unit, *time in stream_columns(table, columns):
            who, fits = (patient, exam), kind.lower() == TRANSTHORACIC
            mine = patient in patients if by_date else who in wanted
            if by_date and mine and fits and who not in times:
                times[who] = _time(time[0])
            key = key_of(name)
            if key is not None and mine and fits:
                if len(exams[who][key]) < MOST:
                    exams[who][key].add((result, unit))
            elif key is not None:
                counts["other_exam_type" if mine and not by_date else "exam_without_cines"] += 1
            elif mine and fits and is_alike(name):
                counts["unknown_measurement"] += 1
                if len(tally.names) < MOST:
                    tally.names.add(name)
    except DataRootError as error:
        source.repaired("bad_table", table.name, str(error))
    chosen = _nearest(dated, times) if by_date else named
    counts["joined_by_date"] += len(chosen) if by_date else 0
    for who in exams.keys() - set(chosen.values()):
        counts["exam_without_cines"] += sum(map(len, exams.pop(who).values()))
    return chosen, exams


def _nearest(dated: Dated, times: Mapping[ExamId, datetime | None]) -> dict[str, ExamId]:
    """Each study's patient's nearest exam, at most ``FARTHEST`` away."""
    of_patient: dict[str, list[tuple[datetime, ExamId]]] = defaultdict(list)
    for who, time in times.items():
        if time is not None:
            of_patient[who[0]].append((time, who))
    chosen = {}
    for study, (patient, time) in dated.items():
        gaps = [(abs(when - time), who) for when, who in of_patient[patient]]
        if gaps and min(gaps)[0] <= FARTHEST:
            chosen[study] = min(gaps)[1]
    return chosen


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None


@lru_cache(MOST_NAMES)
def key_of(name: str) -> Key | None:
    """What a measurement's name means; None where it is not one of ``NAMES``."""
    return NAMES.get(_plain(name))


@lru_cache(MOST_NAMES)
def is_alike(name: str) -> bool:
    """Does a name that is not known look like that of an EF or of a left-ventricular volume?"""
    return _ALIKE.search(_plain(name)) is not None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower())


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
    labels = _preferred(values, (*MEASURED, Method.VISUAL), (Task.EF,))
    labels |= _preferred(values, MEASURED, (Task.EDV, Task.ESV))
    if labels.get("esv", 0) > labels.get("edv", float("inf")):
        tally.counts["esv_exceeds_edv"] += 1
        return {}
    return labels


def _preferred(
    values: Mapping[Key, float], methods: Iterable[Method], tasks: Iterable[Task]
) -> dict[str, float]:
    """Labels of some tasks, all by the first method that has one."""
    for how in methods:
        if found := {task.value: values[how, task] for task in tasks if (how, task) in values}:
            return found
    return {}


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
