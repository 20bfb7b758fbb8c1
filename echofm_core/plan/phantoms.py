"""The ``[machine.phantoms]`` table: SYNTHETIC data that a plan runs on until there are others."""

from typing import Annotated

from pydantic import Field

from echofm_core.plan.section import Section

Count = Annotated[int, Field(ge=1, le=100_000)]


class PhantomConfig(Section):
    """The ``[machine.phantoms]`` table. What writes them is ``echofm_core/phantom/missing.py``."""

    folder: str = ""
    """Folder for SYNTHETIC data, relative to the plan file. Where one of `machine.roots` is this
    folder, or lies in it, and it is not there yet, `simulate`, `pretrain` and `finetune` write it
    first: hospitals into `hospitals/`, layouts into `public/`. With other roots the table does
    nothing. Empty: nothing is written."""
    patients: dict[str, Count] = Field(default={})
    """Patients of each hospital (`echofm phantom hospitals --list`) and of each public layout
    (`echofm phantom write --help`), e.g. `{northfield = 40, camus = 50}`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The same seed gives the same data."""
