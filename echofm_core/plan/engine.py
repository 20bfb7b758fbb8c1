"""Which processes play the sites of a simulation, and the ``[machine.ray]`` table."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from echofm_core.plan.section import Section


class EngineName(StrEnum):
    """What ``machine.engine`` may be. The result does not depend on it."""

    PROCESSES = "processes"
    RAY = "ray"


def _share(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise ValueError("more than one GPU must be a whole number")
    return gpus


def _address(address: str) -> str:
    host_and_port = re.fullmatch(r"[^\s/]+:(\d{1,5})", address)
    if address in ("", "auto") or (host_and_port and 0 < int(host_and_port[1]) < 65536):
        return address
    raise ValueError(
        f"{address!r} is no address of a Ray cluster: write HOST:PORT of its head, such as "
        "10.0.0.5:6379, or auto"
    )


class RayConfig(Section):
    """The ``[machine.ray]`` table. What uses it is ``simulations/ray_sites.py``."""

    address: Annotated[str, AfterValidator(_address)] = ""
    """Ray cluster that trains the sites: HOST:PORT of its head, or `auto` for that of this machine.
    The run folder, and `machine.cache` if it is set, must be on a disk that all nodes share. Empty:
    a Ray of its own on this machine, which trains as many sites at once as `machine.workers`."""
    gpus: Annotated[float, AfterValidator(_share)] = Field(default=0.0, ge=0, le=64)
    """GPUs that Ray sets aside for a site in training; 0.25: four sites share one. Measure a site's
    memory first. 0: none are set aside, and `machine.device` alone says what is used."""
