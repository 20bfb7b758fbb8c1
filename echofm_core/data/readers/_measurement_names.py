"""Names that the two reporting systems of MIMIC-IV-ECHO give to EF and volumes."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from itertools import chain

from echofm_core.tasks import Task


class Method(StrEnum):
    """How a value came about."""

    BIPLANE = "biplane"
    """Simpson's rule in two views."""
    THREE_D = "3d"
    VISUAL = "visual"
    """Estimated by the reader."""
    UPPER = "upper"
    """Upper end of a visual estimate."""


#: What was measured, and how.
Key = tuple[Method, Task]

_QUANTITIES = {"lvef": Task.EF, "lvedv": Task.EDV, "lvesv": Task.ESV}
#: Name -> key. In public use: lvef and lvef_upper of the one system; biplane_lvef, lvef_3d,
#: biplane_lvedv, lvedv_3d and so on of the other. Both orders of the words are taken.
NAMES: dict[str, Key] = {
    "lvef": (Method.VISUAL, Task.EF),
    "lvef_upper": (Method.UPPER, Task.EF),
    **dict(
        chain.from_iterable(
            ((f"{method}_{name}", (method, task)), (f"{name}_{method}", (method, task)))
            for method in (Method.BIPLANE, Method.THREE_D)
            for name, task in _QUANTITIES.items()
        )
    ),
}
#: Names whose meaning is remembered; the table has some 650.
MOST_NAMES = 4096
_ALIKE = re.compile(r"lv_?(ef|edv|esv)|(^|_)ef(_|$)|ejection_frac|(di|sy)astolic_vol")


@lru_cache(MOST_NAMES)
def key_of(name: str) -> Key | None:
    """What a measurement's name means; None where it is not one of ``NAMES``."""
    return NAMES.get(_plain(name))


@lru_cache(MOST_NAMES)
def is_alike(name: str) -> bool:
    """Does a name that is not known look like that of an EF or of a left-ventricular volume?"""
    return _ALIKE.search(_plain(name)) is not None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower())
