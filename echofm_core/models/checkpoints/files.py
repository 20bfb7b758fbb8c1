"""A published checkpoint as it lies on disk: tensors are read, code is never run."""

import argparse
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.text import many

#: What Hugging Face and `accelerate` call the weights in a folder; the first that is there counts.
FOLDER_NAMES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
#: Endings of files that `torch.save` wrote.
TORCH_ENDINGS = (".bin", ".pt", ".pth")
#: Where a training script puts the weights among other things.
CONTAINERS = ("model", "module", "state_dict", "model_state_dict")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """What a checkpoint holds.

    Attributes:
        tensors: By the names of whoever wrote it.
        files: Name -> SHA-256 of each file that tensors came from.
        config: The ``config.json`` beside them; empty without one.
    """

    tensors: dict[str, Tensor]
    files: dict[str, str]
    config: Mapping[str, Any]


def read_source(path: Path, *, with_config: bool = True) -> Source:
    """Read a checkpoint: a file, the index of a sharded one, or a folder that holds either.

    The ``config.json`` beside it is read, too, unless ``with_config`` is False.

    Raises:
        CheckpointError: Not there, damaged, of no kind we read, or with more than tensors in it.
    """
    file = _find(path)
    promised, files = {}, [file]
    if file.name.endswith(".index.json"):
        promised = _weight_map(file)
        files = [_shard(file, name) for name in sorted(set(promised.values()))]
    tensors: dict[str, Tensor] = {}
    for item in files:
        read = _read_safetensors if item.suffix == ".safetensors" else _read_torch
        for name, tensor in read(item).items():
            if name in tensors:
                raise CheckpointError(f"checkpoint {file} holds tensor {name} in two of its files.")
            tensors[name] = tensor
    if missing := sorted(set(promised) - set(tensors)):
        raise CheckpointError(
            f"index {file} promises {many(len(missing), 'tensor')} that no file has: "
            f"{', '.join(missing[:5])}."
        )
    config = file.parent / "config.json"
    return Source(
        tensors=tensors,
        files={item.name: _sha256(item) for item in files},
        config=_json(config) if with_config and config.exists() else {},
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(path: Path) -> Path:
    """The file to read; of a folder, the first of the usual names."""
    if path.is_dir():
        for name in FOLDER_NAMES:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(
            f"folder {path} holds no checkpoint; expected one of {', '.join(FOLDER_NAMES)}."
        )
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist.")
    endings = (*TORCH_ENDINGS, ".safetensors", ".index.json")
    if not path.name.endswith(endings):
        raise CheckpointError(f"checkpoint {path} ends in none of {', '.join(endings)}.")
    return path


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor -> file."""
    found = _json(index).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        raise CheckpointError(f"index {index} has no `weight_map` of tensors to files.")
    return found


def _shard(index: Path, name: str) -> Path:
    """A file that an index names; it lies beside it."""
    if Path(name).name != name or not name.endswith((*TORCH_ENDINGS, ".safetensors")):
        raise CheckpointError(f"index {index} names {name}, which is no weights file beside it.")
    if not (index.parent / name).is_file():
        raise CheckpointError(f"index {index} names {name}, which is not there.")
    return index.parent / name


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}).") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a JSON object.")
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}).") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Tensors of a file of ``torch.save``, by its restricted reader alone."""
    try:
        # VideoMAE's own files keep the command line beside the weights; such a record runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        held = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CheckpointError(
            f"checkpoint {path} holds the Python object {held[1]}, which could run code when it is "
            "read: refused; ask its author for safetensors."
            if held
            else f"checkpoint {path} cannot be read: damaged, or no file of tensors."
        ) from None
    except Exception as error:
        # Damaged files fail in the reader as they will: KeyError, EOFError, RuntimeError ...
        reason = next(iter(str(error).splitlines()), "")
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({type(error).__name__}: {reason})."
        ) from None
    for inner in (found, *(found.get(key) for key in CONTAINERS if isinstance(found, dict))):
        if _is_state(inner):
            return {name: tensor.detach() for name, tensor in inner.items()}
    raise CheckpointError(
        f"checkpoint {path} is no dictionary of named tensors, nor holds one as "
        f"{', '.join(CONTAINERS)}."
    )


def _is_state(found: Any) -> bool:
    """Is this a dictionary of tensors by name?"""
    return (
        isinstance(found, dict)
        and bool(found)
        and all(isinstance(k, str) and isinstance(item, Tensor) for k, item in found.items())
    )
