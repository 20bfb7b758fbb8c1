"""Weights between a model and named arrays; files of arrays are in ``runtime/array_files.py``."""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from echofm_core.contract import HEADS, Weights, group_of
from echofm_core.data.formats.bfloat16 import as_float32
from echofm_core.models.lora import own_name
from echofm_core.runtime.errors import CheckpointError, DivergedError


def named_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """A model's parameters by the names that they have on the wire and on disk."""
    return {own_name(name): parameter for name, parameter in module.named_parameters()}


def to_arrays(module: nn.Module, groups: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """Float32 copies, by full name, of the parameters in ``groups``; ``heads`` means each head."""
    return {
        name: parameter.detach().to("cpu", torch.float32, copy=True).numpy()
        for name, parameter in named_weights(module).items()
        if (group := group_of(name)) in groups
        or (HEADS in groups and group.startswith(f"{HEADS}."))
    }


def all_arrays(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Float32 copies of every parameter, by full name."""
    return to_arrays(module, {group_of(name) for name in named_weights(module)})


def load_arrays(module: nn.Module, arrays: Weights) -> None:
    """Copy named arrays into a model; parameters that are not named stay as they are.

    Each parameter group is given whole or not at all, by full name, as any float type or as bits of
    bfloat16. Nothing is changed unless everything fits.

    Raises:
        CheckpointError: A name is unknown, a shape differs, values are no floats, or a group is
            given in part.
        DivergedError: A value is not finite.
    """
    parameters = named_weights(module)
    _check(parameters, arrays)
    with torch.no_grad():
        for name, array in arrays.items():
            parameters[name].copy_(torch.from_numpy(np.array(as_float32(array), dtype=np.float32)))


def _check(parameters: Mapping[str, nn.Parameter], arrays: Weights) -> None:
    """Refuse unknown names, groups that are given in part, and arrays that do not fit."""
    if unknown := sorted(set(arrays) - set(parameters)):
        raise CheckpointError(
            f"weights hold {_named(unknown)}, which the model does not have; "
            "check that size, patch and stf_net of the plan are those of the weights."
        )
    given = {group_of(name) for name in arrays}
    wanted = {name for name in parameters if group_of(name) in given}
    if missing := sorted(wanted - set(arrays)):
        raise CheckpointError(
            f"weights lack {_named(missing)}, which the model needs beside the others of its group."
        )
    for name, array in arrays.items():
        shape = tuple(parameters[name].shape)
        if tuple(array.shape) != shape:
            raise CheckpointError(
                f"array {name} has shape {tuple(array.shape)}, the model expects {shape}; "
                "check size, patch, tubelet and data.size of the plan."
            )
        values = as_float32(array)
        if not np.issubdtype(values.dtype, np.floating):
            raise CheckpointError(f"array {name} holds {values.dtype} values, expected floats.")
        if not np.isfinite(values).all():
            raise DivergedError(
                f"array {name} holds values that are not finite: the training that it comes from "
                "diverged; go back to weights of before."
            )


def _named(names: list[str]) -> str:
    """The first name and how many more."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"array {names[0]}{more}"
