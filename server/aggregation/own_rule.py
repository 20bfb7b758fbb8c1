"""A user's own aggregation rule: one Python file, outside the package, that a plan names.

Its bytes are those of the hash in the plan, or it is not run. Only the coordinator and simulations
come here: the client's package does not import this one, and a site is not sent the file.
"""

import hashlib
import sys
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.own_rule import rule_source
from echofm_core.runtime.errors import PlanError
from server.aggregation._api import Algorithm


def own_rule(plan: Plan) -> type[Algorithm] | None:
    """The rule that a plan is run by, if it is the user's; None where it is one of the package's.

    Args and errors as of :func:`load_rule`.
    """
    return load_rule(plan) if plan.federation.aggregation is Aggregation.CUSTOM else None


def load_rule(plan: Plan) -> type[Algorithm]:
    """The rule in the file that a plan names.

    Args:
        plan: As of :func:`~echofm_core.run_claim.load_runnable`.

    Raises:
        PlanError: The file is missing, is another than the plan names, cannot be imported, or
            does not hold exactly one rule, which takes what rules take.
    """
    name = _module_name(plan)
    path = Path(plan.machine.rule)
    # A run goes on with what it has begun with, whatever becomes of the file meanwhile.
    module = sys.modules.get(name) or _import(path, name, plan.federation.rule_sha256)
    return _rule_of(module, path)


def file_of(plan: Plan) -> str:
    """The file that a plan's rule was imported from, as tracebacks name it; empty: none was."""
    return str(getattr(sys.modules.get(_module_name(plan)), "__file__", ""))


def _module_name(plan: Plan) -> str:
    return f"echofm_own_rule_{plan.federation.rule_sha256}"


def _import(path: Path, name: str, sha256: str) -> ModuleType:
    source = rule_source(path)
    if (found := hashlib.sha256(source).hexdigest()) != sha256:
        raise PlanError(
            f"{path} has SHA-256 {found[:12]}, but the plan's rule has {sha256[:12] or 'none'}: "
            "restore the file, or begin another run."
        )
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = " ".join(str(error).split())
        raise PlanError(
            f"the plan's own rule {path} cannot be imported ({type(error).__name__}: {line}); "
            f"mend it: `python {path.name}` shows the line."
        ) from None
    return module


def _rule_of(module: ModuleType, path: Path) -> type[Algorithm]:
    """The one rule of a module; classes that it imports, or whose name begins with _, are none."""
    rules = {
        name: item
        for name, item in vars(module).items()
        if isinstance(item, type)
        and issubclass(item, Algorithm)
        and item.__module__ == module.__name__
        and not name.startswith("_")
    }
    if len(rules) != 1:
        found = f"the rules {', '.join(sorted(rules))}" if rules else "no rule"
        raise PlanError(
            f"{path} holds {found}, expected exactly one subclass of server.aggregation.Algorithm; "
            "begin the names of others with _."
        )
    rule = next(iter(rules.values()))
    try:
        signature(rule).bind("config", "shares", "folder")
    except TypeError as error:
        raise PlanError(
            f"{rule.__name__} of {path} cannot be made ({error}); its __init__ takes config, "
            "shares and folder, or is left out."
        ) from None
    return rule


def check_model(model: Weights, before: Weights) -> None:
    """What an own rule's ``finish`` gives is a model.

    Raises:
        PlanError: Names, shapes or types are not those of the model before, or a value is not
            finite.
    """
    if not isinstance(model, Mapping):
        raise PlanError(
            f"finish() of the plan's own rule gives {type(model).__name__}, expected a dict of "
            "all arrays of `current`."
        )
    if other := sorted(map(str, model.keys() ^ before.keys())):
        has = "lacks" if other[0] in before else "has"
        raise PlanError(
            f"the plan's own rule gives a model that {has} array {other[0]}; finish() returns all "
            "arrays of `current`, and no other."
        )
    for name, array in model.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            found = getattr(array, "dtype", type(array).__name__)
            raise PlanError(f"the plan's own rule gives {name} as {found}, expected float32.")
        if array.shape != before[name].shape:
            raise PlanError(
                f"the plan's own rule gives {name} the shape {array.shape}, expected "
                f"{before[name].shape}."
            )
        if not _finite(array):
            raise PlanError(f"the plan's own rule gives {name} values that are not finite.")


def _finite(array: NDArray[np.float32]) -> bool:
    """Without a mask as large as the array."""
    return bool(np.isfinite(array.min(initial=0.0)) and np.isfinite(array.max(initial=0.0)))
