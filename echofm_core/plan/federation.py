"""The ``[federation]`` table: how updates become the next model, and which model is shipped."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field, model_validator

from echofm_core.plan.section import Section
from echofm_core.runtime.errors import PlanError


class Aggregation(StrEnum):
    """How the server combines updates."""

    FEDAVG = "fedavg"
    FEDPROX = "fedprox"
    FEDADAM = "fedadam"
    FEDYOGI = "fedyogi"
    FEDADAGRAD = "fedadagrad"
    FEDAVGM = "fedavgm"
    SCAFFOLD = "scaffold"
    FEDNOVA = "fednova"
    QFEDAVG = "qfedavg"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed_mean"
    KRUM = "krum"
    CUSTOM = "custom"


class Wire(StrEnum):
    """Number format of weights between server and site; sums are always in float32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def dtype(self) -> str:
        """NumPy's name of it; bf16 travels as its bits."""
        return {Wire.FP32: "float32", Wire.FP16: "float16", Wire.BF16: "uint16"}[self]


class Stragglers(StrEnum):
    """What a round does about a site that is slower than it was."""

    WAIT = "wait"
    DROP = "drop"


class TrunkWeights(StrEnum):
    """How much each site counts in the mean of what all tasks share: encoder, adapters, STF-Net."""

    CLIPS = "clips"
    EQUAL = "equal"
    TASK_FAMILY = "task_family"


class Select(StrEnum):
    """Which round of a phase is handed on, tested and shipped."""

    LAST = "last"
    BEST = "best"


class FederationConfig(Section):
    """The ``[federation]`` table."""

    later: ClassVar = frozenset({
        *("server_momentum", "fairness_q", "fairness_lipschitz", "trimmed_share"),
        *("faulty_sites", "kept_sites", "rule", "rule_sha256"),
    })  # fmt: skip

    aggregation: Aggregation = Aggregation.FEDAVG
    """FedAvg (McMahan 2017); FedProx (Li 2020), whose sites are held near the global model;
    FedAdam, FedYogi and FedAdagrad (Reddi 2021), whose server takes a step of that optimizer along
    the sites' mean change; FedAvgM (Hsu 2019), whose server has momentum; SCAFFOLD
    (Karimireddy 2020), whose sites correct their gradients by control variates: as many numbers
    again, always in fp32, and not under differential privacy; FedNova (Wang 2020), which counts
    changes by the step; q-FedAvg (Li 2020), in which sites with a larger loss count more, and which
    is not for differential privacy either; and rules that bear faulty sites and in which all sites
    count alike: the coordinate-wise ``median`` and ``trimmed_mean`` (Yin 2018), ``krum``
    (Blanchard 2017). ``custom``: the user's own, in the file ``rule``."""
    rule: str = ""
    """Custom: Python file with the rule, relative to the plan's file; it runs at the coordinator
    and in simulations, never at a site."""
    rule_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """Custom: SHA-256 of that file; follows from ``rule`` as the plan is run."""
    proximal_mu: float = Field(default=0.01, ge=0, le=1e6)
    """FedProx: weight of 0.5 * mu * ||w - w_global||^2 in the site's loss."""
    server_learning_rate: float = Field(default=0.01, gt=0, le=100)
    """FedAdam, FedYogi, FedAdagrad: the server's learning rate; in a round a weight moves by about
    this, with FedAdam by up to about twice this. For full fine-tuning begin with 0.001."""
    server_beta1: float = Field(default=0.9, ge=0, lt=1)
    """FedAdam, FedYogi, FedAdagrad: decay, per round, of the mean of changes."""
    server_beta2: float = Field(default=0.99, ge=0, lt=1)
    """FedAdam, FedYogi: decay, per round, of the mean of squared changes."""
    server_tau: float = Field(default=1e-3, gt=0, le=1e6)
    """FedAdam, FedYogi, FedAdagrad: adaptivity; changes far below it move the weights in proportion
    to them."""
    server_momentum: float = Field(default=0.9, ge=0, lt=1)
    """FedAvgM: decay, per round, of the velocity; changes that stay the same move the model
    1 / (1 - this) times as far as with FedAvg."""
    fairness_q: float = Field(default=1.0, ge=0, le=5)
    """q-FedAvg: power of a site's loss in its weight; 0 is FedAvg, more is more even."""
    fairness_lipschitz: float = Field(default=0.0, ge=0, le=1e9)
    """q-FedAvg: the paper's L, one over the learning rate where sites take steps of SGD; 0, for
    AdamW, leaves the term with it out."""
    trimmed_share: float = Field(default=0.2, ge=0, lt=0.5)
    """Trimmed mean: share of the sites that is left out at each end, rounded up, as long as one
    site is left."""
    faulty_sites: int = Field(default=1, ge=0, le=49_998)
    """Krum: sites that may send anything; ``min_sites`` must be at least twice this and 3."""
    kept_sites: int = Field(default=1, ge=1, le=100_000)
    """Krum: sites whose mean change moves a parameter group; 1 is Krum, more is multi-Krum. Those
    that may be faulty are never all taken."""
    weight_exponent: float = Field(default=1.0, ge=0, le=1)
    """A site counts with n ** exponent: 1 by size, 0 all alike."""
    trunk_weights: TrunkWeights = TrunkWeights.EQUAL
    """How a site counts in the shared trunk (encoder, adapters, STF-Net) while fine-tuning:
    ``equal``, all alike; ``clips`` as ``weight_exponent`` says, and so it is where a plan names
    that alone; ``task_family``, the clips of each family (EF, volumes and reduced EF; aortic
    stenosis; view) sum to one over the sites. A head, and all of pre-training, count by clips."""
    min_sites: int = Field(default=1, ge=1, le=100_000)
    """Usable updates a round needs; with fewer the run stops and can be resumed."""
    gather_seconds: float = Field(default=120.0, ge=0, le=2_592_000)
    """Once ``min_sites`` of the admitted sites are there, the others have this long until the run
    begins without them; a site that comes later takes part from the next round on, with SCAFFOLD
    from the next phase on."""
    deadline_seconds: float = Field(default=3600.0, gt=0, le=2_592_000)
    """A round closes at this age with at least ``min_sites`` updates."""
    stragglers: Stragglers = Stragglers.WAIT
    """Sites that are slow: ``wait`` for them until the deadline, or, once ``min_sites`` updates
    count, ``drop`` those that have had ``straggler_factor`` times what they took in their last
    rounds. Over a network alone: the sites of a simulation share its machine."""
    straggler_factor: float = Field(default=2.0, ge=1, le=1000)
    """``drop``: a site has this many times the median of its last three answers' seconds,
    transfers included, of this phase; before its first answer, until the deadline."""
    straggler_seconds: float = Field(default=60.0, ge=0, le=2_592_000)
    """``drop``: least time that a site has, however fast it was."""
    wire: Wire = Wire.FP32
    """Number format of weights on the wire: ``fp16`` and ``bf16`` are half the bytes. fp16 keeps 11
    bits of numbers from 6e-8 to 65504; bf16 keeps 8 bits over the range of fp32, so that what a
    round changes by less than 1/512 of a weight may be lost: for weights that overflow fp16."""
    max_update_norm: float = Field(default=0.0, ge=0, le=1e12)
    """Updates whose L2 distance from the global weights exceeds this are refused; 0: no bound."""
    max_norm_ratio: float = Field(default=10.0, ge=0, le=1e12)
    """Updates whose L2 distance from what was sent exceeds this many times the median of those of
    the round and of those that counted in the last three rounds are refused; 0: no bound. With
    fewer than three sites in the phase, or three such distances, nothing is judged. The changes of
    SCAFFOLD's control variates are held to each other likewise."""
    max_clips: int = Field(default=10_000_000, ge=1, le=1_000_000_000)
    """Most training clips that a site may say it has; one that says more does not take part."""
    select: Select = Select.LAST
    """Which round of each phase is handed on, tested and shipped: the last, or the ``best``, whose
    global model has the least validation loss (plain mean over the sites that report it and
    the round that it is held against; where none does, the last)."""
    report_validation: bool = True
    """Sites report the loss of the global model on their own validation patients, one number a
    round. Never under differential privacy."""
    validate_every: int = Field(default=1, ge=1, le=100_000)
    """Rounds from one validation to the next; the last round of a phase is always validated."""

    @model_validator(mode="before")
    @classmethod
    def _exponent_weighs_the_trunk(cls, values: Any) -> Any:
        """A plan that names an exponent, and not what it is for, means all groups."""
        if isinstance(values, dict) and "weight_exponent" in values:
            return {"trunk_weights": TrunkWeights.CLIPS, **values}
        return values

    @model_validator(mode="after")
    def _custom_names_a_file(self) -> FederationConfig:
        needed = self.rule or self.aggregation is Aggregation.CUSTOM
        if needed and (not self.rule.endswith(".py") or self.rule.startswith(("/", "~"))):
            raise ValueError(
                'aggregation = "custom" needs rule, a Python file relative to the plan\'s file, '
                f"got {self.rule!r}"
            )
        return self

    @model_validator(mode="after")
    def _some_need_validation(self) -> FederationConfig:
        if self.select is Select.BEST and not self.report_validation:
            raise ValueError(
                'select = "best" needs the validation loss of the sites, but report_validation is '
                "false: set one of them otherwise"
            )
        if self.aggregation is Aggregation.QFEDAVG and not self.report_validation:
            raise ValueError(
                'aggregation = "qfedavg" weighs sites by their validation loss, but '
                "report_validation is false: set one of them otherwise"
            )
        return self


def check_quorum(federation: FederationConfig) -> None:
    """A round has as many updates as its rule needs; models that are compared need fewer.

    Raises:
        PlanError: ``min_sites`` is too small for Krum.
    """
    needed = krum_quorum(federation.faulty_sites)
    if federation.aggregation is Aggregation.KRUM and federation.min_sites < needed:
        raise PlanError(
            f"federation.min_sites is {federation.min_sites}, but krum with faulty_sites = "
            f"{federation.faulty_sites} needs {needed} updates in every round: raise min_sites to "
            "that, or lower faulty_sites, or choose median or trimmed_mean."
        )


def check_trainers(federation: FederationConfig, sites: int) -> None:
    """Refuse Krum among so few sites that train that it would be the median in every round.

    Raises:
        PlanError: They are fewer than its quorum.
    """
    faulty = federation.faulty_sites
    if federation.aggregation is Aggregation.KRUM and sites < krum_quorum(faulty):
        raise PlanError(
            f"krum with faulty_sites = {faulty} needs {krum_quorum(faulty)} sites that train, here "
            f"are {sites}: lower faulty_sites, or choose median or trimmed_mean."
        )


def median_notes(federation: FederationConfig, sites: int) -> list[str]:
    """A sentence where Krum's model is the median of fewer sites than its quorum; else none.

    Of models that are compared, some are of fewer sites than the plan's own. One site has no rule.
    """
    needed = krum_quorum(federation.faulty_sites)
    if federation.aggregation is not Aggregation.KRUM or not 1 < sites < needed:
        return []
    return [
        f"Krum with faulty_sites = {federation.faulty_sites} needs {needed} sites that train; of "
        "fewer, the model moves by the median change."
    ]


def krum_quorum(faulty: int) -> int:
    """Fewest sites among which Krum can tell so many faulty ones (Blanchard 2017, section 4)."""
    return 2 * faulty + 3
