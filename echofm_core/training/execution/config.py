"""How a machine computes a round. What comes out is the same, but for rounding."""

from pydantic import Field

from echofm_core.plan.section import Section


class ExecutionConfig(Section):
    """The same keys in ``[machine]`` of a plan and in a hospital's ``site.toml``."""

    threads: int = Field(default=1, ge=1)
    """CPU threads of a site's training. Changing it may change the last bits."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` takes a GPU if there is one."""
    devices: int = Field(default=1, ge=1, le=64)
    """Devices that share each training batch, one process each: GPUs 0, 1 ... with ``cuda``, plain
    processes with ``cpu``. Changing it changes rounding only."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """Parts that a batch of either phase is computed in, one after the other: less memory, the same
    step up to rounding."""
    checkpoint_blocks: bool = False
    """Compute activations of transformer blocks twice and keep few: less memory, up to a third
    more time, the same gradients."""
    compile: bool = False
    """Compile the model with ``torch.compile``; where there is no compiler, say so and go on."""
    save_every: int = Field(default=0, ge=0)
    """Steps between two saves of an unfinished round at the site; started again, it goes on from
    the last and ends with the same bits. 0: it starts from its beginning."""

    def settings(self) -> dict[str, str | int | bool]:
        """These keys alone, also of a table that has others."""
        return self.model_dump(include=set(ExecutionConfig.model_fields))
