"""Weights between a model, named arrays and safetensors files."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from echofm_core.contract import HEADS, Weights, group_of
from echofm_core.models.lora import own_name
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.files import whole_file


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


def load_arrays(module: nn.Module, arrays: Weights) -> None:
    """Copy named arrays into a model; parameters that are not named stay as they are.

    Each parameter group is given whole or not at all, by full name, as any float type. Nothing is
    changed unless everything fits.

    Raises:
        CheckpointError: A name is unknown, a shape differs, a value is not a finite float, or a
            group is given in part.
    """
    parameters = named_weights(module)
    _check(parameters, arrays)
    with torch.no_grad():
        for name, array in arrays.items():
            parameters[name].copy_(torch.from_numpy(np.array(array, dtype=np.float32)))


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
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise CheckpointError(f"array {name} holds values that are not finite floats.")


def _named(names: list[str]) -> str:
    """The first name and how many more."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"array {names[0]}{more}"


def save(arrays: Weights, path: Path, metadata: dict[str, str], *, durable: bool = True) -> None:
    """Write arrays by full parameter name as safetensors, whole or not at all.

    The folder is made. ``metadata`` are strings kept in the header, e.g. the plan's digest; for
    ``durable`` see :mod:`echofm_core.runtime.files`.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole_file(path, durable=durable) as partial:
        save_file(contiguous, partial, metadata or None)  # nothing of nothing cannot be read


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; whatever is wrong with it is a :class:`CheckpointError`."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"weights file {path} does not exist.") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"weights file {path} cannot be read ({error}).") from None


def load(path: Path) -> dict[str, NDArray[np.floating]]:
    """Read the arrays of a safetensors file.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """Read the strings that :func:`save` kept in the header.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})
