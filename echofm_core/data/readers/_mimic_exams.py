"""Which exam's measurements are a study's, and those rows of a table of some 28 million.

Names of EF and volumes are those of the two reporting systems of MIMIC-IV-ECHO.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from pathlib import Path

from echofm_core.data.readers._source import Source
from echofm_core.data.readers._tables import read_table, stream_columns
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

STUDIES = "echo-study-list.csv"
COLUMNS = ("subject_id", "measurement_id", "test_type", "measurement", "result", "unit")
TIME = "measurement_datetime"
TRANSTHORACIC = "tte"
#: Results of one measurement of one exam, and unknown names, that are kept: more are damage.
MOST = 8
#: An exam this far from a study is not its exam; the publisher's own bound.
FARTHEST = timedelta(days=2)


class Method(StrEnum):
    """How a value came about."""

    BIPLANE = "biplane"
    """Simpson's rule in two views."""
    THREE_D = "3d"
    VISUAL = "visual"
    """Estimated by the reader."""
    UPPER = "upper"
    """Upper end of a visual estimate."""


#: What was measured, and how.
Key = tuple[Method, Task]

_QUANTITIES = {"lvef": Task.EF, "lvedv": Task.EDV, "lvesv": Task.ESV}
#: Name -> key. In public use: lvef and lvef_upper of the one system; biplane_lvef, lvef_3d,
#: biplane_lvedv, lvedv_3d and so on of the other. Both orders of the words are taken.
NAMES: dict[str, Key] = {
    "lvef": (Method.VISUAL, Task.EF),
    "lvef_upper": (Method.UPPER, Task.EF),
    **dict(
        chain.from_iterable(
            ((f"{method}_{name}", (method, task)), (f"{name}_{method}", (method, task)))
            for method in (Method.BIPLANE, Method.THREE_D)
            for name, task in _QUANTITIES.items()
        )
    ),
}
#: Names whose meaning is remembered; the table has some 650.
MOST_NAMES = 4096
_ALIKE = re.compile(r"lv_?(ef|edv|esv)|(^|_)ef(_|$)|ejection_frac|(di|sy)astolic_vol")
#: Patient and number of an exam.
ExamId = tuple[str, str]
#: What an exam's rows say: texts of result and unit.
Results = dict[Key, set[tuple[str, str]]]


@dataclass(slots=True)
class Tally:
    """What was left, counted: where thousands could come, one finding says how many.

    Attributes:
        counts: By kind of finding.
        names: Measurements that look like an EF or a volume, and are not known.
    """

    counts: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)


@dataclass(slots=True)
class StudyList:
    """``echo-study-list.csv`` of the studies that have a cine.

    Attributes:
        patients: Study -> patient.
        exams: Study -> exam, where the list names one.
        times: Study -> its shifted time, where the list names no exam at all.
    """

    patients: Mapping[str, str]
    exams: dict[str, ExamId] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path, patients: Mapping[str, str], tally: Tally) -> StudyList:
        """Read either version of the list.

        Raises:
            DataRootError: It cannot be read, or has neither exams nor times.
        """
        table, found = read_table(file, ("study_id",)), cls(patients)
        for row in table.rows:
            study, exam = row["study_id"], row.get("measurement_id", "").removesuffix(".0")
            if study in patients and exam:
                named = found.exams.setdefault(study, (patients[study], exam))
                tally.counts["study_listed_twice"] += named[1] != exam
        if not any(row.get("measurement_id") for row in table.rows):
            for row in read_table(file, ("study_id", "study_datetime")).rows:
                if row["study_id"] in patients and (time := _time(row["study_datetime"])):
                    found.times.setdefault(row["study_id"], time)
        return found


def exams_of(
    table: Path, studies: StudyList, source: Source, tally: Tally
) -> tuple[dict[str, ExamId], dict[ExamId, Results]]:
    """Exam of each study that has one, and the results of those exams.

    Args:
        table: Structured measurements, read once.
        studies: What is sought.
        source: Where damage is noted; what was read before it counts.
        tally: Gets what was left.
    """
    exams: dict[ExamId, Results] = defaultdict(lambda: defaultdict(set))
    times: dict[ExamId, datetime | None] = {}
    wanted, patients = set(studies.exams.values()), {studies.patients[s] for s in studies.times}
    by_date, counts = bool(studies.times), tally.counts
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
    chosen = _nearest(studies, times) if by_date else studies.exams
    counts["joined_by_date"] += len(chosen) if by_date else 0
    for who in exams.keys() - set(chosen.values()):
        counts["exam_without_cines"] += sum(map(len, exams.pop(who).values()))
    return chosen, exams


def _nearest(studies: StudyList, times: Mapping[ExamId, datetime | None]) -> dict[str, ExamId]:
    """Each study's patient's nearest exam, at most ``FARTHEST`` away."""
    of_patient: dict[str, list[tuple[datetime, ExamId]]] = defaultdict(list)
    for who, time in times.items():
        if time is not None:
            of_patient[who[0]].append((time, who))
    chosen = {}
    for study, time in studies.times.items():
        gaps = [(abs(when - time), who) for when, who in of_patient[studies.patients[study]]]
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
