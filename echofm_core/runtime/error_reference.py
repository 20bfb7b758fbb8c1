"""Exit codes and what to do about each, for the terminal and for the reference page.

``python -m echofm_core.runtime.error_reference > docs/reference/errors.md``
"""

import inspect
from dataclasses import dataclass

from echofm_core.runtime import errors

_HEAD = """# Exit codes

Every command ends with 0, or with one sentence and one of these codes; `echofm errors` prints them
too. A bad file never ends a run: it is quarantined, counted and listed in the report.

| code | name | what it means | what to do |
|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitCode:
    """One way in which a command ends; ``name`` is the class of the error, where there is one."""

    number: int
    name: str = ""
    meaning: str
    remedy: str


_OTHERS = (
    ExitCode(
        number=2,
        meaning="The command line is wrong: the sentence, below the usage, names word or option.",
        remedy="`--help` of the command",
    ),
    ExitCode(
        number=70,
        meaning="A bug in EchoFM Federated.",
        remedy="please report it with the traceback",
    ),
    *(
        ExitCode(
            number=number,
            meaning=f"Stopped by {by}. Nothing that it started is left after 5 s.",
            remedy="run the same command again, with `--resume` where it has that option",
        )
        for number, by in ((129, "a terminal that closed"), (130, "Ctrl-C"), (143, "SIGTERM"))
    ),
)


def exit_codes() -> list[ExitCode]:
    """All of them but 0, by number."""
    ours = [
        ExitCode(
            number=kind.exit_code,
            name=kind.__name__,
            meaning=" ".join((kind.__doc__ or "").split()),
            remedy=kind.remedy,
        )
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EchoFMError)
    ]
    return sorted([*ours, *_OTHERS], key=lambda code: code.number)


def reference() -> str:
    """The Markdown page."""
    rows = [
        f"| {code.number} | {f'`{code.name}` ' if code.name else ''}| {code.meaning} "
        f"| {code.remedy} |"
        for code in exit_codes()
    ]
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
