"""The plan's keys in words, written from the models themselves so that they cannot go stale.

For the terminal by `echofm keys`, and as the reference page:

``python -m echofm_core.plan.reference > docs/reference/plan.md``
"""

from collections.abc import Iterator
from enum import StrEnum
from textwrap import wrap
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from echofm_core.plan.complaints import tables, unknown_word
from echofm_core.plan.document import Plan
from echofm_core.plan.meanings import meanings
from echofm_core.plan.section import Section
from echofm_core.runtime.errors import PlanError

_HEAD = """# The plan

A plan is a TOML file; `examples/` holds commented ones. Unknown keys are errors. `[machine]` says
where a run happens and is not part of the plan's hash: the same plan gives the same weights on
one worker or many. Nor is `[study]`, which says what is trained to compare.
"""


def reference() -> str:
    """Markdown page: one table a section, one row a key."""
    parts = [_HEAD]
    for name, section in tables(Plan):
        texts = meanings(section)
        rows = [_row(key, info, _plain(texts.get(key, ""))) for key, info in _own_keys(section)]
        title = f"## `[{name}]`" if name else "## Top level"
        parts += [
            f"{title}\n",
            "| key | default | legal | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    return "\n".join(parts)


def in_words(table: str = "") -> str:
    """The keys of a table, or of all, as plain text.

    Raises:
        PlanError: A plan has no such table.
    """
    every, name = dict(tables(Plan)), table.strip("[] ")
    if name not in every:
        raise PlanError(f"{unknown_word('table', name, tuple(filter(None, every)))}.")
    chosen = {name: every[name]} if name else every
    return "\n\n".join(_text(key, section) for key, section in chosen.items())


def as_comments(section: type[Section]) -> str:
    """The keys of a table as TOML comments: meaning, then the default."""
    texts = meanings(section)
    return "".join(
        "\n".join(wrap(_plain(texts.get(key, "")), 96, initial_indent="# ", subsequent_indent="# "))
        + f"\n# {key} = {_default(info.default)}\n".replace("`", "")
        for key, info in section.model_fields.items()
    )


def _text(name: str, section: type[Section]) -> str:
    lines, texts = [f"[{name}]" if name else "at the top of the file"], meanings(section)
    for key, info in _own_keys(section):
        lines.append(f"{key}: {_legal(info)}; default {_default(info.default)}".replace("`", ""))
        text = _plain(texts.get(key, ""))
        lines += wrap(text, 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _own_keys(section: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    """The keys of a table that are no tables themselves."""
    for key, info in section.model_fields.items():
        if not (isinstance(info.annotation, type) and issubclass(info.annotation, Section)):
            yield key, info


def _row(name: str, info: FieldInfo, meaning: str) -> str:
    cells = (f"`{name}`", _default(info.default), _legal(info), meaning.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A text on one line, its code as in Markdown."""
    return " ".join(text.split()).replace("``", "`")


def _default(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    if isinstance(value, dict) and value:
        return "`{" + ", ".join(f"{key} = {list(item)}" for key, item in value.items()) + "}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _legal(info: FieldInfo) -> str:
    if get_origin(info.annotation) is dict:
        key, value = get_args(info.annotation)
        lists = get_origin(value) is tuple
        by = "name" if key is str else key.__name__.lower()
        return f"table of {'lists' if lists else 'numbers'}, by {by}"
    choices = [
        kind
        for kind in (info.annotation, *get_args(info.annotation))
        if isinstance(kind, type) and issubclass(kind, StrEnum)
    ]
    if choices:
        return ", ".join(f"`{choice.value}`" for choice in choices[0])
    item = next(iter(get_args(info.annotation)), None)
    if get_origin(item) is Annotated:
        of, field = get_args(item)
        return f"list of {', '.join([of.__name__, *_bounds(field)])}"
    if isinstance(item, type) and issubclass(item, Section):
        return "list of tables"
    kind = info.annotation.__name__ if isinstance(info.annotation, type) else str(info.annotation)
    return ", ".join([f"{kind}".replace("|", "\\|"), *_bounds(info)])


def _bounds(info: FieldInfo) -> list[str]:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}
    return [
        f"{sign} {getattr(rule, key)}"
        for rule in info.metadata
        for key, sign in signs.items()
        if getattr(rule, key, None) is not None
    ]


if __name__ == "__main__":
    print(reference(), end="")
