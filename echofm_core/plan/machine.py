"""The ``[machine]`` table: where a run is computed, and how."""

from pydantic import Field

from echofm_core.plan.engine import EngineName, RayConfig
from echofm_core.plan.phantoms import PhantomConfig
from echofm_core.tracking.config import TrackerName
from echofm_core.training.config import ExecutionConfig


class MachineConfig(ExecutionConfig):
    """The ``[machine]`` table: where this runs, and how. Not part of the plan's hash."""

    roots: tuple[str, ...] = ()
    """Folders with data sets as downloaded; relative to the plan file."""
    cache: str = ""
    """Folder of manifests and clip stores; default: ``cache`` in the run folder."""
    workers: int = Field(default=1, ge=1, le=256)
    """Simulation: sites trained at the same time, one process each. On GPUs fewer, where memory
    does not hold as many."""
    engine: EngineName = EngineName.PROCESSES
    """Simulation: what trains the sites. `processes`: this machine's; `ray`: a Ray cluster, see
    `machine.ray`; the extra of the same name installs it. The result is the same."""
    secret: str = ""
    """File that `echofm data secret` wrote: the key of the record of whom a model was trained on,
    which `echofm evaluate` reads. Relative to the plan file; without one, a throw-away key lies
    beside the record in the run folder."""
    start: str = ""
    """Weights that the encoder starts from: a file, a folder such as `echofm model import` writes,
    or a run folder; relative to the plan file. Pre-training goes on from them, and with
    ``pretrain.rounds = 0`` fine-tuning does. Empty: random weights, drawn by the plan's seed."""
    rule: str = ""
    """File of ``federation.rule`` on this machine, where that does not say it; relative to the plan
    file."""
    track: tuple[TrackerName, ...] = ()
    """Where each round's metrics go too. `tensorboard`: event files in the run folder. `mlflow`:
    the store of the environment variable MLFLOW_TRACKING_URI, else an SQLite file in the run
    folder. The extra of the same name installs it."""
    phantoms: PhantomConfig = PhantomConfig()
    ray: RayConfig = RayConfig()
