"""What a model is asked to read from a clip, with units, legal ranges and fixed scalings."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """Name of a prediction task; the head of task T is the parameter group ``heads.T``."""

    EF = "ef"
    ESV = "esv"
    EDV = "edv"
    REDUCED_EF = "reduced_ef"
    AS_GRADE = "as_grade"
    AS_CLASS = "as_class"
    VIEW = "view"


class TaskKind(StrEnum):
    """How a task is scored and which loss it takes."""

    REGRESSION = "regression"
    BINARY = "binary"
    MULTICLASS = "multiclass"


class TaskFamily(StrEnum):
    """Tasks that are read from the same thing in the picture."""

    VENTRICLE = "ventricle"
    AORTIC_STENOSIS = "aortic_stenosis"
    VIEW = "view"


#: Aortic stenosis grades of TMED-2 in order of severity; the label is the index, 0 to 4.
AS_GRADES = ("none", "mild", "mild_to_moderate", "moderate", "severe")
#: The publisher's three classes of them, and the class of each grade, 0 to 2.
AS_CLASSES = ("none", "early", "significant")
AS_CLASS_OF_GRADE = (0, 1, 1, 2, 2)
#: Views a manifest may name; the label of the task ``view`` is the index.
VIEWS = ("A4C", "A2C", "PLAX", "PSAX", "OTHER")
#: Class names of each task that has classes, in the order of their labels.
CLASS_NAMES: Mapping[Task, tuple[str, ...]] = {
    Task.REDUCED_EF: ("not reduced", "reduced"),
    Task.AS_GRADE: AS_GRADES,
    Task.AS_CLASS: AS_CLASSES,
    Task.VIEW: VIEWS,
}


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Fixed facts of one task.

    Attributes:
        family: Tasks that count as one where the shared trunk is weighted by task family.
        column: Manifest column that the label comes from.
        outputs: Width of the head: 1, or the number of classes.
        low, high: Legal label range, inclusive; a label outside it is refused on load.
        unit: Unit of the label and of every error reported for it.
        log: True where the head predicts the logarithm (volumes are log-normal).
    """

    kind: TaskKind
    family: TaskFamily
    column: str
    outputs: int = 1
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    log: bool = False


def _volume(column: str) -> TaskSpec:
    """A volume of the left ventricle, in ml."""
    kind, family = TaskKind.REGRESSION, TaskFamily.VENTRICLE
    return TaskSpec(kind, family, column, low=1, high=1000, unit="ml", log=True)


def _classes(family: TaskFamily, column: str, names: tuple[str, ...]) -> TaskSpec:
    """A classification, whose labels are indices of the names."""
    outputs = len(names)
    return TaskSpec(TaskKind.MULTICLASS, family, column, outputs=outputs, high=outputs - 1)


TASKS: Mapping[Task, TaskSpec] = {
    Task.EF: TaskSpec(TaskKind.REGRESSION, TaskFamily.VENTRICLE, "ef", high=100, unit="%"),
    Task.ESV: _volume("esv"),
    Task.EDV: _volume("edv"),
    Task.REDUCED_EF: TaskSpec(TaskKind.BINARY, TaskFamily.VENTRICLE, "ef", high=100),
    Task.AS_GRADE: _classes(TaskFamily.AORTIC_STENOSIS, "as_grade", AS_GRADES),
    Task.AS_CLASS: _classes(TaskFamily.AORTIC_STENOSIS, "as_class", AS_CLASSES),
    Task.VIEW: _classes(TaskFamily.VIEW, "view", VIEWS),
}

#: Mean and standard deviation by which targets of regression are standardised where a plan names
#: no others: in percent, and in the logarithm of ml. They are round values of adults and of no data
#: set, so that no site's statistics reach another. Two deviations span normal and severely abnormal
#: hearts: EF 31 to 79 %, EDV 40 to 200 ml (90 ml is between the normal means of women and men, and
#: more than 200 ml is severe in men: Lang 2015, J Am Soc Echocardiogr 28:1), ESV 15 to 110 ml
#: (40 ml is what an EF of 55 % leaves of 90 ml).
STANDARDISATION: Mapping[Task, tuple[float, float]] = {
    Task.EF: (55.0, 12.0),
    Task.ESV: (3.7, 0.5),
    Task.EDV: (4.5, 0.4),
}
