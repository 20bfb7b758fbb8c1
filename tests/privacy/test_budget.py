import pytest

from echofm_core.contract import Phase
from echofm_core.privacy.accounting import (
    Steps,
    epsilon,
    planned_steps,
    resolve_noise,
    steps_of_round,
)
from echofm_core.privacy.config import PrivacyConfig
from echofm_core.runtime.errors import PrivacyError
from echofm_core.training.config import FinetuneConfig, PhaseConfig, PretrainConfig

TABLES: dict[Phase, PhaseConfig] = {
    Phase.PRETRAIN: PretrainConfig(rounds=4, batch_size=10),
    Phase.FINETUNE: FinetuneConfig(rounds=2, batch_size=5, local_epochs=3),
}


def private(**privacy: object) -> PrivacyConfig:
    return PrivacyConfig.model_validate({"kind": "local"} | privacy)


def test_steps_of_a_round_by_hand() -> None:
    """45 patients, 10 a step: rate 10/45, 5 steps a pass. 4 patients: all of them, one step."""
    config = PhaseConfig(batch_size=10, local_epochs=2)
    assert steps_of_round(config, 45) == Steps(10 / 45, 10)
    assert steps_of_round(config, 4) == Steps(1.0, 2)


def test_private_steps_are_those_of_the_plan_where_it_counts_in_steps() -> None:
    """45 patients, 10 a step: still at the rate 10/45, however many steps a pass would take."""
    assert steps_of_round(PhaseConfig(batch_size=10, local_steps=7), 45) == Steps(10 / 45, 7)
    tables = {
        Phase.PRETRAIN: PretrainConfig(rounds=0),
        Phase.FINETUNE: FinetuneConfig(rounds=2, batch_size=5, local_steps=7),
    }
    assert planned_steps(tables, 50) == [Steps(0.1, 14)]


def test_steps_of_a_plan_by_hand() -> None:
    """50 patients: 4 rounds of 5 steps at 1/5, then 2 rounds of 3 passes of 10 steps at 1/10."""
    both = [Steps(0.2, 20), Steps(0.1, 60)]
    assert planned_steps(TABLES, 50) == both
    counts = {Phase.PRETRAIN: 50, Phase.FINETUNE: 0}
    assert planned_steps(TABLES, counts) == both[:1]


def test_a_named_noise_gives_its_epsilon() -> None:
    named = private(noise_multiplier=1.1)
    assert resolve_noise(named, TABLES, 50) == 1.1
    expected = epsilon(1.1, [Steps(0.2, 20), Steps(0.1, 60)], 1e-5)
    noise = resolve_noise(named, TABLES, 50)
    assert epsilon(noise, planned_steps(TABLES, 50), named.delta) == expected


def test_a_named_epsilon_is_met_over_both_phases() -> None:
    noise = resolve_noise(private(epsilon=4.0), TABLES, 50)
    planned = epsilon(noise, planned_steps(TABLES, 50), 1e-5)
    assert 3.95 < planned <= 4.0
    assert resolve_noise(private(epsilon=4.0), TABLES, 50) > resolve_noise(
        private(epsilon=4.0), TABLES, 500
    )


def test_a_plan_without_privacy_has_no_noise() -> None:
    with pytest.raises(PrivacyError, match="no noise"):
        resolve_noise(PrivacyConfig(), TABLES, 50)
