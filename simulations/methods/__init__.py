"""Methods that a study compares, a file each; ``_api`` says what one is."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from echofm_core.plan.federation import Aggregation
from echofm_core.plan.study import REVIEWER
from simulations.methods._api import Method
from simulations.methods.adapters import ADAPTERS
from simulations.methods.ensemble import Ensemble
from simulations.methods.frozen import Frozen
from simulations.methods.leave_one_out import LeaveOneOut
from simulations.methods.local import Local
from simulations.methods.no_pretraining import NoPretraining
from simulations.methods.one_shot import OneShot
from simulations.methods.personal import PERSONAL
from simulations.methods.pooled import Pooled
from simulations.methods.rules import Rule

#: Name -> method. A new one is a file, its name in ``echofm_core/plan/study.py`` and a line here.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            *(Local(), Pooled(), Ensemble(), Frozen(), OneShot()),
            *map(Rule, Aggregation),
            *(LeaveOneOut(), NoPretraining()),
            *PERSONAL,
            *ADAPTERS,
        )
    }
)

#: Name -> methods of a set.
SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        REVIEWER: (
            *("local", "pooled", "ensemble", "frozen", "one_shot"),
            *("fedavg", "fedprox", "scaffold", "fedadam"),
            *("local_norms", "fedper", "ditto"),
        )
    }
)


def methods_named(names: Iterable[str]) -> list[Method]:
    """The methods of some names and sets, each once, in this order."""
    single = [name for word in names for name in SETS.get(word, (word,))]
    return [METHODS[name] for name in dict.fromkeys(single)]
