"""What the keys of a section mean: the texts below its attributes, read when somebody asks.

Pydantic can read them as well, but for every model whenever it is imported, which is a tenth of
the time that any command takes to start.
"""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent

from echofm_core.plan.section import Section


def meanings(section: type[Section]) -> dict[str, str]:
    """Key -> the text below it, without indentation; keys that have none are left out.

    A key of a base class has that one's text, where the section does not write its own.

    Raises:
        OSError: The source is not there.
    """
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if issubclass(kind, Section):
            found |= _texts(kind)
    return {key: found[key] for key in section.model_fields if key in found}


def _texts(kind: type) -> dict[str, str]:
    """The texts in the body of one class."""
    definition = ast.parse(dedent(inspect.getsource(kind))).body[0]
    assert isinstance(definition, ast.ClassDef)
    return {
        key.target.id: inspect.cleandoc(text.value.value)
        for key, text in pairwise(definition.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }
