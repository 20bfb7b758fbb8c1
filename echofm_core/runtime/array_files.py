"""Named arrays in safetensors files, without PyTorch: a server needs none to average."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from echofm_core.contract import Weights
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.files import whole_file


def save(arrays: Weights, path: Path, metadata: dict[str, str], *, durable: bool = True) -> None:
    """Write arrays by full parameter name as safetensors, whole or not at all.

    The folder is made. ``metadata`` are strings kept in the header, e.g. the plan's digest; for
    ``durable`` see :mod:`echofm_core.runtime.files`.

    Raises:
        OSError: The system refuses, for want of room as a rule.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole_file(path, durable=durable) as partial:
        try:
            save_file(contiguous, partial, metadata or None)  # nothing of nothing cannot be read
        except SafetensorError as error:
            if found := re.search(r"\(os error (\d+)\)", str(error)):
                raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
            raise


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


def load_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the arrays of a safetensors file, from its header alone.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: Path) -> dict[str, str]:
    """Read the strings that :func:`save` kept in the header.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})
