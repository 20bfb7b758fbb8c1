"""What has to hold before training may be called private; anything else stops the round."""

from __future__ import annotations

from opacus.validators import ModuleValidator
from torch import nn

from echofm_core.privacy.config import PrivacyConfig
from echofm_core.runtime.errors import PrivacyError


def check_model(model: nn.Module) -> None:
    """Refuse layers that mix samples, keep statistics of them, or have no per-sample gradient.

    Raises:
        PrivacyError: Naming the layers' kinds.
    """
    model.train()
    if errors := ModuleValidator.validate(model, strict=False):
        kinds = sorted({type(layer).__name__ for layer in model.modules() if not _is_fine(layer)})
        raise PrivacyError(
            f"the model cannot be trained privately because of {', '.join(kinds) or errors[0]}; "
            "use LayerNorm or GroupNorm in place of layers that mix the samples of a batch."
        )


def check_delta(privacy: PrivacyConfig, patients: int) -> None:
    """Refuse a delta that would allow one patient's data to be told outright.

    Raises:
        PrivacyError: delta is not below 1 / patients.
    """
    if privacy.delta * patients >= 1:
        raise PrivacyError(
            f"privacy.delta = {privacy.delta:g} is not below 1 / patients = 1 / {patients}, so "
            "the promise would be empty; choose a smaller delta."
        )


def _is_fine(layer: nn.Module) -> bool:
    # A parent inherits its children's errors, so only a layer without children is asked.
    return any(True for _ in layer.children()) or not ModuleValidator.validate(layer, strict=False)
