"""Reading a plan from TOML or JSON; nothing but the file itself is opened."""

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from echofm_core.plan.complaints import complaint
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import PlanError


def plan_from_mapping(values: dict[str, Any], source: str) -> Plan:
    """Validate parsed TOML or JSON; ``source`` names it in messages.

    Raises:
        PlanError: One sentence a wrong key, all of them at once.
        PrivacyError: An option cannot be had together with privacy.
    """
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        complaints = "; ".join(complaint(item, Plan) for item in error.errors())
        raise PlanError(f"plan {source} is not valid: {complaints}.") from None


def plan_from_json(text: str, source: str = "from the server") -> Plan:
    """Read a plan as it travels (see :meth:`Plan.to_json`).

    Raises:
        PlanError: The text is not JSON or not a valid plan.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"plan {source} is not JSON ({error}).") from None
    if not isinstance(values, dict):
        raise PlanError(f"plan {source} is not a JSON object.")
    return plan_from_mapping(values, source)


def load_plan(path: Path) -> Plan:
    """Read and validate a TOML plan; relative ``machine`` folders become absolute.

    Raises:
        PlanError: The file is missing, not TOML, or not a valid plan.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PlanError(f"plan {path} does not exist; `echofm demo` writes one to copy.") from None
    except OSError as error:
        raise PlanError(
            f"plan {path} cannot be read ({error.strerror}); give a TOML file."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"plan {path} cannot be read as TOML ({error}).") from None
    plan = plan_from_mapping(values, str(path))
    base = path.resolve().parent
    places: dict[str, object] = {
        key: str(base / Path(folder).expanduser())
        for key in ("cache", "secret", "start")
        if (folder := getattr(plan.machine, key))
    }
    if rule := plan.federation.rule:
        places["rule"] = str(base / Path(plan.machine.rule or rule).expanduser())
    roots = tuple(str(base / Path(root).expanduser()) for root in plan.machine.roots)
    phantoms = plan.machine.phantoms
    if phantoms.folder:
        folder = str(base / Path(phantoms.folder).expanduser())
        phantoms = phantoms.model_copy(update={"folder": folder})
    places |= {"roots": roots, "phantoms": phantoms}
    machine = plan.machine.model_copy(update=places)
    return plan.model_copy(update={"machine": machine})
