"""What of a plan is warned of before anything trains."""

from __future__ import annotations

import math

from echofm_core.contract import Phase
from simulations.study.estimate import noise_to_signal
from simulations.study.plan_warnings import warnings_of
from tests.simulations.study.test_estimate import manifest, plan


def test_what_will_say_little_is_warned_of() -> None:
    found = " ".join(warnings_of(plan(), manifest()))
    assert "EF has training labels at A alone" in found
    assert "fewer than 10 test patients at some sites (3 at C)" in found
    assert "drowns" not in found


def test_an_epsilon_that_drowns_the_signal_is_warned_of() -> None:
    """A noise multiplier of 1,000 on a hundred thousand weights; one of 1e-6 is lost in them."""
    for noise, warned in ((1000.0, True), (1e-6, False)):
        private = plan(privacy={"kind": "local", "noise_multiplier": noise})
        found = [note for note in warnings_of(private, manifest()) if "drowns" in note]
        assert bool(found) == warned
    assert math.isfinite(noise_to_signal(plan(), Phase.PRETRAIN, 1, 0, 1.0))
