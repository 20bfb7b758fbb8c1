"""The app bundle of a run: what the coordinator submits, and the only one that a site answers.

It names the apps of the installed package and holds no code, so its content follows from the
package's version, and a site computes what it must be sent.
"""

import tomllib
from typing import Any

from echofm_core import __version__

#: The bundle's one file of ours; whoever packs it adds a list of contents.
BUNDLE = f"""\
[project]
name = "echofm-federated"
version = "{__version__}"
dependencies = []

[tool.flwr.app]
publisher = "echofm"
components = {{ serverapp = "server.app:app", clientapp = "client.app:app" }}

[tool.flwr.app.config]
plan = ""
run-folder = ""
resume = false
members = ""
wait-seconds = 600.0
watch = ""
"""


def bundle_settings() -> dict[str, Any]:
    """What the bundle of this version says."""
    return tomllib.loads(BUNDLE)
