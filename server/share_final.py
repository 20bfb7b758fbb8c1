"""The mean of what stayed at the sites, for the model that is shipped: asked for once, at the end.

Symptom: the model of a FedPer run predicts nothing at a hospital that did not train. Reason: its
heads never left the sites. Protocol: where the plan says so, each site sends after the last round
what it kept of its own; what comes is admitted as an update is, and its mean takes the place of
what training began with. Sites answer the same again, so a run that was killed asks again. What can
still go wrong: a site that is gone by then is not in the mean, and is named.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial

from echofm_core.contract import SHARE, TRAIN, Action, Instruction, Phase, Weights
from echofm_core.models.local_names import local_names
from echofm_core.post_processing import post_processing
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.text import many
from server.admission import Expected
from server.aggregation._api import Algorithm
from server.aggregation.shares import Shares
from server.intake import Intake
from server.journal import write_json
from server.norm_bound import NormBound
from server.phase_run import Participant
from server.release.what_left import SHARED_FINAL
from server.replies import Patience
from server.run import Run, open_replies
from server.wire import bytes_of, reasons, to_message, wired


def share_final(run: Run, weights: Weights, participants: Mapping[str, Participant]) -> Weights:
    """A model with the mean of the sites' own parts, each group with its weights of the sites.

    Which weights these are is in :class:`~server.aggregation.shares.Shares`; the mean is plain,
    whatever rule averages the rest.

    Args:
        run: Finished.
        weights: All of its model, float32.
        participants: Of fine-tuning.

    Raises:
        FederationError: Fewer than ``min_sites`` answer.
    """
    plan, config = run.plan, run.plan.federation
    names, number = local_names(plan), plan.finetune.rounds + 1
    start = {name: weights[name] for name in sorted(names)}
    model = wired(dict(start), post_processing(config))
    instruction = Instruction(
        action=Action.FINETUNE,
        round=number,
        plan=plan.to_json(),
        plan_hash=plan.digest(),
        run=plan.run_name(),
        settings={TRAIN: 0.0, SHARE: 1.0},
    )
    messages = {
        site: to_message(instruction, model.record, it.node, config.deadline_seconds)
        for site, it in participants.items()
    }
    shares = Shares(config, {site: it.most for site, it in participants.items()}, Phase.FINETUNE)
    fold = Algorithm(config, shares, run.scratch).start(model.sent, start)
    expected = partial(
        Expected,
        phase=Phase.FINETUNE,
        round=number,
        plan_hash=plan.digest(),
        sent=model.sent,
        max_clips=config.max_clips,
        local={group for it in participants.values() for group in it.most},
    )
    with closing(open_replies(run.grid, run.scratch)) as replies:
        intake = Intake(
            fold,
            (NormBound(), NormBound()),
            lambda site: expected(site=site, most=participants[site].most),
            replies.set_aside,
            {site: bytes_of(message) for site, message in messages.items()},
        )
        for site, reply in replies.collect(messages, Patience(seconds=config.deadline_seconds)):
            intake.take(site, reply)
        intake.finish()
    if len(intake.sites) < config.min_sites:
        raise FederationError(
            f"{many(len(intake.sites), 'site')} sent what stayed there (personal.share_final), "
            f"federation.min_sites is {config.min_sites} ({reasons(intake.refused)}); mend the "
            "sites and go on with --resume.",
            intake.refused,
            intake.codes,
        )
    sites = {site: asdict(entry) for site, entry in intake.sites.items()}
    write_json(run.folder / SHARED_FINAL, {"sites": sites, "refused": intake.refused})
    return {**weights, **fold.finish()}
