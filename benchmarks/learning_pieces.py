"""The learning benchmark in pieces: each is done once, in a folder of its own, when its needs are.

A piece has a name, the pieces that it needs, and words: whatever else decides what it ends with.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.learning_recipe import Recipe, Start
from echofm_core.models.config import StfNetForm, StfPart
from echofm_core.phantom.hospitals import HELD_OUT, HOSPITALS, SEALED, Hospital, draw_hospital


class Cohort(StrEnum):
    """Which patients: a draw's, the ceiling's, the sealed hospital's."""

    DRAW = "patients"
    CEILING = "ceiling-patients"
    SEALED = "sealed-patients"


@dataclass(frozen=True, kw_only=True, slots=True)
class Patients:
    """Phantom patients, written and decoded; the ceiling's in several parts."""

    draw: int = 0
    cohort: Cohort = Cohort.DRAW
    part: int = 0

    @property
    def name(self) -> str:
        """Within a draw."""
        return f"{self.cohort}-{self.part}" if self.cohort is Cohort.CEILING else self.cohort.value

    def needs(self, recipe: Recipe) -> tuple[Piece, ...]:
        """None."""
        return ()

    def words(self, recipe: Recipe) -> object:
        """Who, and how they are decoded."""
        hospitals = {
            split: ([repr(item) for item in found], count)
            for split, (found, count) in self.hospitals(recipe).items()
        }
        drawn, data = recipe.drawn, recipe.plan.data.model_dump(mode="json")
        labelled = drawn.labelled if self.cohort is Cohort.DRAW else 0
        return hospitals, labelled, drawn.seed(self.draw), data

    def hospitals(self, recipe: Recipe) -> dict[str, tuple[list[Hospital], int]]:
        """``train`` and ``test``: hospitals, and how many patients each."""
        drawn = recipe.drawn
        named = [item for item in HOSPITALS if item.name not in HELD_OUT]
        if self.cohort is Cohort.SEALED:
            return {"test": ([SEALED], drawn.test_patients)}
        if self.cohort is Cohort.CEILING:
            more = (draw_hospital(drawn.first_seed, n) for n in range(drawn.ceiling_hospitals))
            part = [*named, *more][self.part :: drawn.ceiling_parts]
            return {"train": (part, drawn.ceiling_patients)}
        held = [item for item in HOSPITALS if item.name in HELD_OUT]
        return {"train": (named, drawn.patients), "test": (held, drawn.test_patients)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretraining:
    """Federated pre-training on all clips of a draw's six hospitals."""

    draw: int
    start: Start

    @property
    def name(self) -> str:
        """Within a draw."""
        return f"pretraining-{self.start}"

    def needs(self, recipe: Recipe) -> tuple[Piece, ...]:
        """The patients."""
        return (Patients(draw=self.draw),)

    def words(self, recipe: Recipe) -> object:
        """Its plan."""
        return recipe.pretraining(self.draw, self.start).digest()


#: Parts of the compact STF-Net that no arm has but the one that asks what they add: with few labels
#: grey levels of fixed places are learnt by heart.
WITHOUT = (StfPart.GREY,)


class Pool(StrEnum):
    """Whose labels train together, and how."""

    FEDERATED = "federated"
    POOLED = "pooled"
    CEILING = "ceiling"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """Fine-tuning of all weights.

    Attributes:
        start: What the encoder starts from.
        percent: Share of each site's labelled patients.
        pool: Six sites, or their data in one place; or the ceiling's patients in one place.
        form, without: Of STF-Net; without ``WITHOUT``, where nothing is asked about it.
    """

    draw: int = 0
    start: Start = Start.RANDOM
    percent: int = 100
    pool: Pool = Pool.FEDERATED
    form: StfNetForm = StfNetForm.COMPACT
    without: tuple[StfPart, ...] = WITHOUT

    @property
    def name(self) -> str:
        """All but the draw."""
        if self.pool is Pool.CEILING:
            return "ceiling"
        whole = f"{self.start}-{self.percent}"
        if self.pool is Pool.POOLED:
            return f"pooled-{whole}"
        if self.form is not StfNetForm.COMPACT:
            return f"{whole}-{self.form}"
        added = [f"with-{part}" for part in WITHOUT if part not in self.without]
        taken = [f"without-{part}" for part in self.without if part not in WITHOUT]
        return "-".join((whole, *added, *taken))

    def needs(self, recipe: Recipe) -> tuple[Piece, ...]:
        """Patients, and what it starts from."""
        if self.pool is Pool.CEILING:
            parts = range(recipe.drawn.ceiling_parts)
            return tuple(Patients(cohort=Cohort.CEILING, part=part) for part in parts)
        return Patients(draw=self.draw), *encoder_of(self.draw, self.start)

    def words(self, recipe: Recipe) -> object:
        """Its plan, and whose data are together."""
        if self.pool is Pool.CEILING:
            return self.pool, recipe.ceiling_tuning().digest()
        plan = recipe.tuning(self.draw, self.percent, self.form, self.without)
        return self.pool, plan.digest()


class Where(StrEnum):
    """Who is tested: hospitals held out by scanner and population, or the sealed one."""

    HELD_OUT = "held_out"
    SEALED = "sealed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """A fine-tuned model on a draw's test patients, who may be of another draw than the model."""

    draw: int
    of: Tuning
    where: Where = Where.HELD_OUT

    @property
    def arm(self) -> str:
        """What is scored."""
        return self.of.name

    @property
    def name(self) -> str:
        """Within a draw."""
        return f"scores-{self.arm}-{self.where}"

    def needs(self, recipe: Recipe) -> tuple[Piece, ...]:
        """The model, and the patients."""
        return self.of, tested(self.draw, self.where)

    def words(self, recipe: Recipe) -> object:
        """Nothing else."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ridge:
    """Ridge regression on a share of the labels: of an encoder's features, or of grey statistics.

    Attributes:
        start: Whose frozen features; None: the floor, which needs no network.
    """

    draw: int
    start: Start | None = None
    percent: int = 100
    where: Where = Where.HELD_OUT

    @property
    def arm(self) -> str:
        """What is scored."""
        return f"floor-{self.percent}" if self.start is None else f"frozen-{self.start}"

    @property
    def name(self) -> str:
        """Within a draw."""
        return f"{self.arm}-{self.where}"

    def needs(self, recipe: Recipe) -> tuple[Piece, ...]:
        """The patients of both sides, and the encoder."""
        people = Patients(draw=self.draw), tested(self.draw, self.where)
        return *people, *(encoder_of(self.draw, self.start) if self.start else ())

    def words(self, recipe: Recipe) -> object:
        """The plan of the fine-tuning with these labels."""
        return recipe.tuning(self.draw, self.percent, StfNetForm.COMPACT, ()).digest()


Scored = Scores | Ridge
Piece = Patients | Pretraining | Tuning | Scored


def encoder_of(draw: int, start: Start) -> tuple[Pretraining, ...]:
    """The pre-training behind a start; none behind random weights."""
    return () if start is Start.RANDOM else (Pretraining(draw=draw, start=start),)


def tested(draw: int, where: Where) -> Patients:
    """Who is tested."""
    sealed = where is Where.SEALED
    return Patients(draw=draw, cohort=Cohort.SEALED if sealed else Cohort.DRAW)
