"""Who takes part in a round, and by which counts: sites that come back with others."""

from __future__ import annotations

from pathlib import Path

from echofm_core.contract import Phase
from echofm_core.plan.federation import FederationConfig
from server.aggregation import Algorithm
from server.aggregation.shares import Announced, Shares
from server.phase import train_phase
from server.phase_run import Attendance, Participant, PhaseRun
from simulations.engine import Engine
from tests.federation.toy_phase import START, settings


def test_a_site_that_comes_back_with_other_counts_is_weighed_by_these(tmp_path: Path) -> None:
    """b was set up anew in round 2, and has three times the clips; in round 3 all is as before.

    By what it said at first it would count three times as much as a family has.
    """
    announced_clips: list[int] = []

    class Listens(Algorithm):
        def announce(self, announced: Announced, phase: Phase) -> None:
            announced_clips.append(announced["b"]["encoder"])
            super().announce(announced, phase)

    def attend(number: int) -> Attendance:
        clips = {"a": 10, "b": 10 if number == 1 else 30}
        return Attendance(
            participants={
                name: Participant(node=node, most={"encoder": clips[name]})
                for node, name in enumerate(clips, start=1)
            }
        )

    config = FederationConfig()
    spec = PhaseRun(
        phase=Phase.PRETRAIN,
        rounds=3,
        participants=attend(1).participants,
        attend=attend,
        federation=config,
        plan="{}",
        plan_hash="x",
        run="toy",
        scratch=tmp_path / "scratch",
    )
    rule = Listens(config, Shares(config, {}, Phase.PRETRAIN), tmp_path)
    with Engine(1, client_app="tests.federation.toy:app") as engine:
        train_phase(engine.grid(settings(["a", "b"], tmp_path)), dict(START), spec, algorithm=rule)
    assert announced_clips == [30]
