"""What the processes of a round are given and give back: plain files in a private folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echofm_core.contract import Phase
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.data.windows import ClipWindows
from echofm_core.models.weights import all_arrays, load_arrays
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime import array_files as files
from echofm_core.runtime import errors
from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.files import write_whole
from echofm_core.training.config import ExecutionConfig
from echofm_core.training.execution.ranks import Ranks
from echofm_core.training.objectives.phases import Model, build_model, phase_of
from echofm_core.training.steps.job import LocalContext, RoundReport

#: Where the processes find each other, and what all but the first print.
MEETING, LOGS = "meeting", "logs"
JOB, REPORT, MANIFEST = "job.json", "report.json", "manifest.parquet"
#: What of a context is written as it is.
PLAIN = (
    *("seed", "site", "round", "rounds", "first", "until"),
    *("proximal_mu", "role", "control", "local", "alternate_steps"),
)
#: Weights before and after the round.
GIVEN, TRAINED = "given.safetensors", "trained.safetensors"
#: What a proximal term pulls to, where that is not what is given.
ANCHOR = "anchor.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How the processes run.

    Attributes:
        world: How many there are.
        device: ``cpu`` or ``cuda``.
        parent: Process that launched them; they end when it does.
    """

    world: int
    device: str
    threads: int
    parent: int


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder; only its owner can open it, since a manifest is there."""

    path: Path

    def write_job(
        self, model: Model, clips: ClipWindows, plan: Plan, context: LocalContext, terms: Terms
    ) -> None:
        """Write all that a round is made of."""
        save_manifest(clips.manifest, self.path / MANIFEST)
        files.save(all_arrays(model), self.path / GIVEN, {}, durable=False)
        if context.anchor:
            files.save(context.anchor, self.path / ANCHOR, {}, durable=False)
        job = {
            "phase": phase_of(model).value,
            "plan": plan.to_json(),
            "stores": [str(folder.resolve()) for folder in clips.store.folders],
            # Of a round that is not private; its device is the process's own.
            "context": {name: getattr(context, name) for name in PLAIN},
            "state": str(context.state.resolve()) if context.state else None,
            "execution": context.execution.settings(),
            "terms": asdict(terms),
        }
        write_whole(self.path / JOB, json.dumps(job).encode(), durable=False)

    def terms(self) -> Terms:
        """How the processes run."""
        return Terms(**self._read(self.path / JOB)["terms"])

    def read_job(self, ranks: Ranks) -> tuple[Model, ClipWindows, Plan, LocalContext]:
        """What was given, for one of the processes."""
        job = self._read(self.path / JOB)
        plan = plan_from_json(job["plan"], "of a shared round")
        phase = Phase(job["phase"])
        model = build_model(plan, phase, plan.table_of(phase).stage_of(job["context"]["round"]))
        load_arrays(model, files.load(self.path / GIVEN))
        store = ClipStore([Path(folder) for folder in job["stores"]])
        clips = ClipWindows(store, load_manifest(self.path / MANIFEST), plan.data)
        anchor = self.path / ANCHOR
        context = LocalContext(
            **{**job["context"], "local": tuple(job["context"]["local"])},
            anchor=files.load(anchor) if anchor.exists() else {},
            state=Path(job["state"]) if job["state"] else None,
            privacy=plan.privacy,
            execution=ExecutionConfig(**{**job["execution"], "device": str(ranks.device)}),
            ranks=ranks,
        )
        return model, clips, plan, context

    def write_result(self, model: Model, report: RoundReport) -> None:
        """Write what came of the round; the report, which says that all is there, comes last."""
        files.save(all_arrays(model), self.path / TRAINED, {}, durable=False)
        write_whole(self.path / REPORT, json.dumps(asdict(report)).encode(), durable=False)

    def read_result(self, model: Model) -> RoundReport:
        """Read what came of the round; the model is changed in place."""
        load_arrays(model, files.load(self.path / TRAINED))
        return RoundReport(**self._read(self.path / REPORT))

    def write_error(self, rank: int, error: EchoFMError) -> None:
        """Write why a process ended, in a sentence."""
        words = {"error": type(error).__name__, "sentence": str(error)}
        write_whole(self._error(rank), json.dumps(words).encode(), durable=False)

    def read_error(self, world: int) -> EchoFMError | None:
        """The error of the first process that wrote one."""
        for rank in range(world):
            if self._error(rank).exists():
                words = self._read(self._error(rank))
                kind: type[EchoFMError] = getattr(errors, words["error"])
                return kind(words["sentence"])
        return None

    def _error(self, rank: int) -> Path:
        return self.path / f"error-{rank}.json"

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
