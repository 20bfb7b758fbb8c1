"""The models of a site x model table: their names in files, their order and their titles."""

from collections.abc import Iterable

FEDERATED = "federated"
LEAVE_ONE_OUT = "leave_one_out"
POOLED = "pooled"
#: The federation without pre-training, all else equal.
NO_PRETRAINING = "no_pretraining"
#: At each site a model of its own beside the federated one (Ditto), and the federated one after a
#: last local step there.
PERSONAL, LAST_STEP = "personal", "last_step"
#: The model of an institution by itself, in a run of its own.
ALONE = "alone"
#: Before the name of the site that trained alone: ``local:camus``.
LOCAL = "local:"
#: Ridge regression on brightness and motion of a coarse grid: what needs no network.
FLOOR = "no_network"

_TITLES = {
    FLOOR: "no network (ridge)",
    NO_PRETRAINING: "federated, no pre-training",
    PERSONAL: "personal (Ditto)",
    LAST_STEP: "federated + last step",
}
_FIRST = (FEDERATED, PERSONAL, LAST_STEP, LEAVE_ONE_OUT, POOLED, NO_PRETRAINING)


def model_order(models: Iterable[str]) -> list[str]:
    """Models of several sites first, then each site alone by name, the floor last."""

    def key(name: str) -> tuple[int, str]:
        if name in _FIRST:
            return _FIRST.index(name), name
        return len(_FIRST) + (name == FLOOR), name

    return sorted(set(models), key=key)


def model_title(model: str) -> str:
    """How a model is written: ``camus alone`` for ``local:camus``."""
    if model.startswith(LOCAL):
        return f"{model.removeprefix(LOCAL)} alone"
    return _TITLES.get(model, model.replace("_", " "))
