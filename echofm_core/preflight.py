"""What a plan needs of this machine, looked at before any data are read."""

from __future__ import annotations

from echofm_core.models.lora import require_adapters
from echofm_core.plan import Plan
from echofm_core.tracking.listener import require_trackers
from echofm_core.training.devices import find_device


def require_machine(plan: Plan) -> None:
    """Refuse a plan that this machine cannot train.

    Raises:
        EnvironmentClashError: A package that the plan asks for, or a device, is not here.
    """
    require_trackers(plan)
    require_adapters(plan)
    if plan.machine.devices > 1:
        from echofm_core.training.distributed.launch import device_kind

        device_kind(plan.machine.device, plan.machine.devices)
    else:
        find_device(plan.machine.device)
