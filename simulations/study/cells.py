"""The parts of a study: one protocol, variation and seed, with the methods trained there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from echofm_core.data.manifest import without_plain_classes
from echofm_core.data.prepare import Prepared
from echofm_core.evaluation.config import Baseline
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.protocol import ProtocolName
from echofm_core.plan.study import StudyConfig
from echofm_core.runtime.errors import PlanError
from echofm_core.training.label_share import as_trained
from simulations.arms import plan_arms
from simulations.methods import METHODS, methods_named
from simulations.methods._api import Method, Piece, Setting
from simulations.prepare import prepare_sites
from simulations.study.few_shot import Shot, bases_of, shots_of
from simulations.study.folder import DIVERGED, place_of
from simulations.study.variations import PLAIN, Variation, before_tuning, variations

#: Columns of a manifest that a training depends on, besides the frames themselves.
DECISIVE = ("dataset", "clip_id", "patient_id", "study_id", "site", "split", "view")
LABELS = ("ef", "edv", "esv", "as_grade", "as_class")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cell:
    """One protocol, one variation and one seed.

    Attributes:
        protocol: Name of the rule of sites.
        plan: Of this protocol, variation and seed.
        folder: Its run folder.
        prepared: Sites and splits.
        data: Hash of these.
        setting: What its methods choose from.
        methods: With the trainings of each.
        notes: A sentence for each method or arm that is left out.
        variation: Values that it differs in from other parts.
        shots: Fine-tuning on a few patients, with ``evaluation.few_shot``.
        store: Folder of its trainings, which variations share; None: its run folder.
        split_seed: That its patients were split by; None: the plan's.
    """

    protocol: ProtocolName
    plan: Plan
    folder: Path
    prepared: Prepared
    data: str
    setting: Setting
    methods: tuple[tuple[Method, tuple[Piece, ...]], ...]
    notes: tuple[str, ...]
    variation: Variation = PLAIN
    shots: tuple[Shot, ...] = ()
    store: Path | None = None
    split_seed: int | None = None

    @property
    def reference(self) -> str:
        """The method that others are compared with: the plan's own rule, or the first rule."""
        rules = [method.name for method, _ in self.methods if method.name in set(Aggregation)]
        own = self.plan.federation.aggregation.value
        return own if own in rules else next(iter(rules), "")

    def pieces(self) -> dict[str, Piece]:
        """Key -> training, each once and behind the one whose weights it begins with."""
        found: dict[str, Piece] = {}
        for _, pieces in self.methods:
            for piece in pieces:
                for one in (piece.start, piece):
                    if one:
                        found.setdefault(one.key(self.data), one)
        for shot in self.shots:
            found.setdefault(shot.piece.key(self.data), shot.piece)
        return found

    def place(self, piece: Piece) -> Path:
        """Folder of a training."""
        return place_of(self.store or self.folder, piece.arm.name, piece.key(self.data))

    def diverged(self, piece: Piece) -> bool:
        """Whether a training diverged, or what it would begin with."""
        lost = (self.place(piece) / DIVERGED).exists()
        return lost or (piece.start is not None and self.diverged(piece.start))


def study_of(plan: Plan) -> StudyConfig:
    """The study that a plan asks for, with every default written out."""
    asked = plan.study
    methods = asked.methods or (
        plan.federation.aggregation.value,
        *(baseline.value for baseline in plan.evaluation.baselines if baseline.value in METHODS),
    )
    return asked.model_copy(
        update={
            "methods": tuple(method.name for method in methods_named(methods)),
            "seeds": asked.seeds or 1,
            "protocols": tuple(dict.fromkeys(asked.protocols)) or (plan.protocol.name,),
        }
    )


def cells(plan: Plan, folder: Path) -> Iterator[Cell]:
    """All parts of a study, protocol by protocol; data are decoded where they are not yet.

    Patients stay in their split from seed to seed, unless the study draws it anew.

    Raises:
        PlanError: No method of the study can be had with the plan, or a variation is no plan.
        EchoFMError: As of :func:`simulations.prepare.prepare_sites`.
    """
    study, prepared = study_of(plan), dict[tuple[str, int], Prepared]()
    cache = Path(plan.machine.cache or folder / "cache")
    for common, here, variation in settings(plan):
        for number in range(study.seeds):
            seed = {"seed": plan.seed + number}
            seeded = here.model_copy(update=seed)
            drawn = seeded if study.resplit else here
            key = (drawn.protocol.model_dump_json(), drawn.seed)
            if key not in prepared:
                prepared[key] = prepare_sites(drawn, cache)
            base = folder / here.protocol.name.value if len(study.protocols) > 1 else folder
            name = f"seed-{seeded.seed}"
            place = base / variation.folder / name if variation.folder else base / name
            cell = cell_of(
                seeded, place, prepared[key], study.methods, common.model_copy(update=seed)
            )
            yield replace(cell, variation=variation, store=base / name, split_seed=drawn.seed)


def settings(plan: Plan) -> Iterator[tuple[Plan, Plan, Variation]]:
    """Of each protocol and variation: the plan without the variation, with it, and the variation.

    Raises:
        PlanError: A variation is no plan.
    """
    every = variations(plan)
    for protocol in study_of(plan).protocols:
        named = plan.protocol.model_copy(update={"name": protocol})
        common = plan.model_copy(update={"protocol": named})
        for variation in every:
            yield common, variation.of(common), variation


def cell_of(
    plan: Plan,
    folder: Path,
    prepared: Prepared,
    names: Sequence[str],
    common: Plan | None = None,
) -> Cell:
    """One part: the plan's protocol and seed, and what these methods train there.

    Args:
        plan, folder, prepared: Of the part.
        names: Of methods and sets.
        common: The plan without its variation, if it has one.

    Raises:
        PlanError: None of them can be had with the plan.
    """
    methods = methods_named(names)
    every = plan.evaluation.model_copy(update={"baselines": tuple(Baseline)})
    asked = plan.model_copy(update={"evaluation": every})
    arms, left_out = plan_arms(as_trained(prepared.manifest, plan), asked)
    encoder = before_tuning(plan, common) if common else None
    setting = Setting(plan, {arm.name: arm for arm in arms}, encoder)
    found, notes = list[tuple[Method, tuple[Piece, ...]]](), list[str]()
    for method in methods:
        try:
            pieces = tuple(method.pieces(setting))
        except PlanError as error:
            notes.append(f"The method {method.name} is left out: {error}")
            continue
        if pieces:
            found.append((method, pieces))
        else:
            why = "no site can train it with these labels."
            notes.append(f"The method {method.name} is left out: {why}")
    if not found:
        raise PlanError(f"no method of the study can be had. {' '.join(notes)}")
    wanted = {method.name for method in methods}
    cell = Cell(
        protocol=plan.protocol.name,
        plan=plan,
        folder=folder,
        prepared=prepared,
        data=data_hash(prepared.manifest),
        setting=setting,
        methods=tuple(found),
        notes=(*notes, *_about(left_out, wanted)),
    )
    shots, missing = shots_at(cell)
    return replace(cell, shots=shots, notes=(*cell.notes, *missing))


def shots_at(cell: Cell) -> tuple[tuple[Shot, ...], list[str]]:
    """Fine-tuning on a few patients from its methods' models, and a sentence for each site n/a."""
    methods = [(method.name, pieces) for method, pieces in cell.methods]
    bases = bases_of(methods, cell.reference)
    shots, missing = shots_of(cell.plan, cell.prepared.manifest, cell.setting.arms, bases)
    return tuple(shots), missing


def _about(notes: Sequence[str], wanted: set[str]) -> list[str]:
    """Of the sentences on arms that there are not, those on methods of the study."""
    words: Mapping[str, str] = {
        "Leaving ": Baseline.LEAVE_ONE_OUT.value,
        "The plan has no pre-training": "",  # the method says so itself
        f"{LEAVE_ONE_OUT}: ": "",  # said with the study's other methods
    }
    about = {
        note: next((n for w, n in words.items() if note.startswith(w)), None) for note in notes
    }
    return [note for note, method in about.items() if method is None or method in wanted]


def data_hash(manifest: pd.DataFrame) -> str:
    """SHA-256, in hex, of who is at which site and in which split, with which labels.

    Where files lie, and in which order they are read, does not count.
    """
    rows = without_plain_classes(manifest[[*DECISIVE, *LABELS]])
    rows = rows.sort_values(["dataset", "clip_id"])
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()
