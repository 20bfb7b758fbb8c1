import pytest
from torch import nn

from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.config import ModelConfig, StfNetForm
from echofm_core.privacy.config import PrivacyConfig
from echofm_core.privacy.mechanism import check_delta, check_model
from echofm_core.runtime.errors import PrivacyError
from tests.training.site import PLAN


def test_batch_norm_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(PrivacyError, match="because of BatchNorm1d; use LayerNorm"):
        check_model(model)


@pytest.mark.parametrize("form", list(StfNetForm))
def test_our_models_can_be_trained_privately(form: StfNetForm) -> None:
    plan = PLAN.model_copy(update={"model": ModelConfig(patch=8, stf_net=form)})
    check_model(build_echo_model(plan))
    check_model(build_autoencoder(plan))


def test_delta_must_be_below_one_over_patients() -> None:
    privacy = PrivacyConfig(kind="local", noise_multiplier=1.0, delta=0.01)
    check_delta(privacy, 99)
    with pytest.raises(PrivacyError, match="not below 1 / patients"):
        check_delta(privacy, 100)
