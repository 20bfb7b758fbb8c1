"""Tables of a recipe: nested mappings, of which one changes another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, the second's values where both have one."""
    both = {
        name: merged(first.get(name, {}), value) if isinstance(value, dict) else value
        for name, value in second.items()
    }
    return {**first, **both}
