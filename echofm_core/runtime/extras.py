"""How to install what is optional, by the names that an index has."""

from importlib.metadata import PackageNotFoundError, requires

#: What this software is called when it is installed; it is on no index.
DISTRIBUTION = "echofm-federated"


def install(extra: str) -> str:
    """The command that installs an extra's packages, e.g. ``pip install 'peft>=0.17'``."""
    try:
        wanted = [text.partition(";") for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:  # run from a folder that was never installed
        wanted = []
    named = [package for package, _, marker in wanted if f'extra == "{extra}"' in marker]
    if not named:
        return f"install the extra `{extra}` from a checkout"
    return "pip install " + " ".join(f"'{package.strip()}'" for package in named)
