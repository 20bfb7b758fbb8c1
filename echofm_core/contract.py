"""What server and client say to each other: names and typed records, no Flower types.

``wire.py`` puts these records into messages and reads them back, on both sides; this file alone
decides what may cross the wall.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

#: Weights by full parameter name, e.g. ``encoder.blocks.0.attn.qkv.weight``.
Weights = Mapping[str, NDArray[np.floating]]

#: Raised whenever a record changes its meaning; sites refuse another version.
SCHEMA_VERSION = 6


class Phase(StrEnum):
    """The two training phases, in order."""

    PRETRAIN = "pretrain"
    FINETUNE = "finetune"


class Action(StrEnum):
    """Flower message types. ``query``: who are you; ``train``: one round; ``evaluate``: test."""

    DESCRIBE = "query.describe"
    PRETRAIN = "train.pretrain"
    FINETUNE = "train.finetune"
    EVALUATE = "evaluate.site"


class Record(StrEnum):
    """Records of a message's content; the first three names are those of stock strategies."""

    ARRAYS = "arrays"
    METRICS = "metrics"
    CONFIG = "config"
    FROZEN = "frozen"
    EXTRA = "extra"


#: What a site without a policy of its own lets leave: see :func:`releases`.
EVERY_NUMBER = "*"
#: Settings of a training instruction: validate the weights that were sent before training; 0 in
#: ``TRAIN``: train nothing, and answer with the metric alone.
VALIDATE = "validate"
TRAIN = "train"
#: And, after the last round: train nothing, and send what has stayed at the site (a plan that says
#: so alone).
SHARE = "share"
#: Metric of an update: the loss on the site's validation patients of the weights that were sent.
VALIDATION = "validation"
#: Metric of an update: the training loss of all tasks; ``loss/TASK`` is that of one.
LOSS = "loss"
#: Metric of an update in pre-training: effective rank of the features of the encoder that it holds.
EFFECTIVE_RANK = "effective_rank"
#: Metric of an update in pre-training: R2 with which ridge regression reads the EF of patients that
#: it did not see from these features.
EF_PROBE = "ef_probe_r2"
#: Every metric that an update may have, and the ends of its legal values.
UPDATE_METRICS: Mapping[str, tuple[float, float]] = {
    LOSS: (-1e6, 1e6),
    VALIDATION: (-1e6, 1e6),
    EFFECTIVE_RANK: (0.0, 1e6),
    EF_PROBE: (-1e6, 1.0),
    **dict.fromkeys(("num-examples", "seconds", "steps", "skipped"), (0.0, 1e12)),
    "learning_rate": (0.0, 1e6),
    "epsilon": (0.0, math.inf),
    "noise_multiplier": (0.0, 1e12),
    **dict.fromkeys(("delta", "sample_rate"), (0.0, 1.0)),
}

ENCODER = "encoder"
DECODER = "decoder"
#: The encoder whose features are the targets of latent pre-training; it never trains.
TEACHER = "teacher"
STF_NET = "stf_net"
HEADS = "heads"
#: Low-rank adapters of the encoder, in fine-tuning with ``mode = "lora"``.
LORA_A = "lora_a"
LORA_B = "lora_b"
#: A second adapter beside each, which is a site's own and never leaves it.
LOCAL_LORA_A = "local_lora_a"
LOCAL_LORA_B = "local_lora_b"
#: Prefix, in an instruction, of encoder layers as they are in this round: those below adapters that
#: are averaged exactly.
BASE = "base"
#: What all tasks share in fine-tuning.
TRUNK = (ENCODER, LORA_A, LORA_B, LOCAL_LORA_A, LOCAL_LORA_B, STF_NET)

#: Number of an instruction: weight of FedProx's term.
PROXIMAL_MU = "proximal_mu"
#: Numbers of an update: optimizer steps of the round that were taken (FedNova); the loss of the
#: weights as they came on the site's validation patients (q-FedAvg).
LOCAL_STEPS = "local_steps"
GLOBAL_LOSS = "global_loss"
RULE_NUMBERS = (LOCAL_STEPS, GLOBAL_LOSS)
#: Prefix of SCAFFOLD's control variates; number of an instruction: the round that it counts from.
CONTROL = "control"
CONTROL_ROUND = "control_round"


def group_of(name: str) -> str:
    """Parameter group of a full parameter name: ``encoder``, ``stf_net``, ``heads.ef`` ...

    An algorithm's own array ``PREFIX/PARAMETER`` belongs to the group of its parameter.

    >>> group_of("heads.ef.weight"), group_of("encoder.norm.bias"), group_of("control/encoder.w")
    ('heads.ef', 'encoder', 'encoder')
    """
    first, _, rest = name.rpartition("/")[2].partition(".")
    return f"{HEADS}.{rest.partition('.')[0]}" if first == HEADS else first


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """Server to site: do this with these weights.

    Attributes:
        round: Global round within the phase, from 1; 0 outside of training.
        plan: The plan as canonical JSON (``Plan.to_json``).
        plan_hash: Its digest; a site checks both.
        run: Run name, which keys the site's state folder.
        weights: Shared groups of the global model; empty for ``describe``.
        frozen: Groups that the phase leaves as they are; empty where the site has kept them.
        frozen_digest: What they are; "" where nothing is frozen.
        extra: The algorithm's own arrays, e.g. a control variate, named ``PREFIX/PARAMETER``.
        settings: The algorithm's own numbers, e.g. ``proximal_mu``.
    """

    action: Action
    round: int
    plan: str
    plan_hash: str
    run: str
    weights: Weights = field(default_factory=dict)
    frozen: Weights = field(default_factory=dict)
    frozen_digest: str = ""
    extra: Weights = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def phase(self) -> Phase:
        """The phase that a training instruction is of."""
        return Phase(self.action.value.rpartition(".")[2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Attested:
    """What each answer of a site says of the rules that it left by.

    All are SHA-256 in 64 hexadecimal digits, or "" where the site has no such thing, as a simulated
    one has none.

    Attributes:
        audit_head, ledger_head: Last hashes of the site's audit, the line of this answer included,
            and of its privacy ledger.
        policy_hash: Of the ``[policy]`` that it was held against, with all defaults.
        approval_hash: Of the site's record that it approved this plan.
    """

    audit_head: str = ""
    ledger_head: str = ""
    policy_hash: str = ""
    approval_hash: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteDescription(Attested):
    """Site to server, once a session: who I am and how much I can train on. Counts only.

    Attributes:
        train_clips, train_patients: What pre-training sees.
        labels: Task name -> training clips with that label.
        test_labels: Task name -> test clips with that label.
        quarantined: Files the site could not use.
        released: Names of losses and scores that its policy lets leave, see :func:`releases`; said
            before any result is known, so that none is kept back for being bad.
        min_patients: Fewest patients that its policy wants behind any number.
        software: What is installed there, as :func:`~echofm_core.runtime.installed_code.software`
            says it; "" of a simulated site.
    """

    site: str
    train_clips: int
    train_patients: int
    labels: Mapping[str, int]
    test_labels: Mapping[str, int]
    quarantined: int
    released: str = EVERY_NUMBER
    min_patients: int = 1
    software: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Update(Attested):
    """Site to server: the result of a round.

    Attributes:
        phase, round, plan_hash: What this answers.
        weights: Shared groups after local training (not a difference), in wire precision.
        counts: Parameter group -> training clips behind it (``heads.ef``: clips with an EF).
            A group with no clips is absent here and in ``weights``.
        metrics: Numbers for the journal, e.g. ``loss``, ``seconds``, ``epsilon``.
        checksum: :func:`echofm_core.runtime.checksum.checksum` of ``weights`` and ``extra``.
        extra: The algorithm's own arrays, named ``PREFIX/PARAMETER``, for groups with a count.
        numbers: The algorithm's own numbers by name.
    """

    site: str
    phase: Phase
    round: int
    plan_hash: str
    weights: Weights
    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    checksum: int
    extra: Weights = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


class Scored(StrEnum):
    """Whose scores a site sends of its test patients."""

    MODEL = "federated"
    FLOOR = "no_network"
    #: The first minus the second, on the same drawn patients.
    DIFFERENCE = "federated_minus_no_network"
    #: A model of the site's own beside the federated one (Ditto).
    PERSONAL = "personal"
    #: The federated one after a last local step.
    LAST_STEP = "last_step"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric with its interval, a bootstrap over patients that the site did at home.

    Attributes:
        value: NaN where these patients leave it undefined.
        low, high: Ends of the interval; both NaN where there is none.
        p: Of a difference, how surprising it is if there is none; else NaN.
    """

    value: float
    low: float
    high: float
    p: float = math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteResult(Attested):
    """Site to server: scores of the site's test split; never a prediction of one patient.

    Attributes:
        plan_hash: Of the plan that this answers.
        digest: :func:`echofm_core.runtime.checksum.digest` of the weights that were tested.
        patients: Task name -> test patients with its label; tasks without any are absent.
        scores: :func:`score_name` -> score, for the tasks that have patients.
    """

    site: str
    plan_hash: str
    digest: str
    patients: Mapping[str, int]
    scores: Mapping[str, Score]


def releases(patterns: str, name: str) -> bool:
    """Whether a loss or score may leave a site.

    Args:
        patterns: Names with spaces between; ``*`` stands for anything.
        name: Such as ``loss`` or, of a score, ``ef/mae``.

    >>> releases("loss ef/*", "ef/mae"), releases("loss ef/*", "loss/ef")
    (True, False)
    """
    return any(fnmatchcase(name, pattern) for pattern in patterns.split())


def score_name(scored: Scored, task: str, metric: str) -> str:
    """Name of a score on the wire.

    >>> score_name(Scored.FLOOR, "ef", "mae")
    'no_network/ef/mae'
    """
    return f"{scored}/{task}/{metric}"
