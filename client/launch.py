"""Running a site's node, Flower's SuperNode and our launcher, from its settings file."""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from client.policy import OPEN, Policy
from echofm_core.plan.complaints import complaint
from echofm_core.runtime.child_process import flower_environment, tool
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.names import site_name_fault
from echofm_core.training.config import ExecutionConfig
from echofm_core.training.execution.devices import check_device_word

#: Where the SuperNode's own interface listens: nobody beyond this machine has business there.
LOOPBACK = "127.0.0.1"


class SiteFile(ExecutionConfig):
    """``site.toml``: what a hospital decides for itself. Relative paths start at its folder."""

    name: str
    """Site name, as the coordinator has it."""
    server: str = Field(pattern=r"^[^:]+:[0-9]+$")
    """``HOST:PORT`` of the server."""
    manifest: str
    """Manifest of the site's clips, with splits."""
    store: str
    """Folder of clip stores."""
    state: str
    """Folder that only this site writes to: decoder, ledger, predictions, log."""
    secret: str = ""
    """File that `echofm data secret` wrote: the key of the record of whom models were trained on;
    without one, a throw-away key lies beside the record in the state folder."""
    max_unusable: float = Field(default=0.5, ge=0, le=1)
    """Largest share of the manifest's clips that the store may lack; `echofm client check` fails
    above it."""
    policy: Policy = Policy()
    """What the site allows, whatever a plan asks for."""

    @field_validator("name")
    @classmethod
    def _legal(cls, name: str) -> str:
        if fault := site_name_fault(name):
            raise ValueError(f"{name[:80]!r} {fault}")
        return name

    @field_validator("device")
    @classmethod
    def _device(cls, device: str) -> str:
        check_device_word(device)
        return device


def load_site(folder: Path, *, quoting: bool = True) -> SiteFile:
    """Read ``site.toml`` of a site folder, paths made absolute.

    Args:
        quoting: Quote what is written there; False, keys alone, where the sentence may leave.

    Raises:
        PlanError: Missing, not TOML, or not valid.
    """
    path = folder / "site.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        site = SiteFile.model_validate(values)
    except FileNotFoundError:
        raise PlanError(f"{path} does not exist; `echofm client init` writes it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} cannot be read as TOML ({error}).") from None
    except ValidationError as error:
        wrong = "; ".join(
            complaint(item, SiteFile) if quoting else f"`{'.'.join(map(str, item['loc']))}`"
            for item in error.errors()
        )
        raise PlanError(f"{path} is not valid: {wrong}.") from None
    base = folder.resolve()
    named = ("manifest", "store", "state", *(("secret",) if site.secret else ()))
    paths = {key: str(base / getattr(site, key)) for key in named}
    return site.model_copy(update=paths)


def policy_of(config: Mapping[str, str | int | float | bool]) -> Policy:
    """The policy that a node config names, read anew for each message: an edit holds at once.

    A simulated site has none of its own; a node that names no settings has the defaults.

    Raises:
        PlanError: ``site.toml`` is missing or not valid.
        EnvironmentClashError: As of :func:`load_site`.
    """
    if config.get("simulated") is True:
        return OPEN
    settings = str(config.get("settings", ""))
    return load_site(Path(settings).parent, quoting=False).policy if settings else Policy()


def log_settings(folder: Path) -> None:
    """Write into the site's log what its node starts with: it may move rounding."""
    from client.answers import site_log

    site = load_site(folder)
    words = ", ".join(f"{key} = {value}" for key, value in site.settings().items())
    site_log(Path(site.state)).info("node of %s starts with %s", site.name, words)


def command(folder: Path, runtime_port: int = 9094) -> list[str]:
    """The command of a site's node: our launcher, and the SuperNode that it runs.

    The secret that the two share is made anew at each start, in the site's folder.

    Raises:
        PlanError, EnvironmentClashError: As of :func:`load_site`, or Flower is not installed.
    """
    site = load_site(folder)
    named = ("manifest", "store", "state", *(("secret",) if site.secret else ()))
    paths = {key: getattr(site, key) for key in named}
    paths["settings"] = str((folder / "site.toml").resolve())
    config = {"site": site.name, **paths, **site.settings()}
    text = " ".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in config.items()
    )
    secret = str(folder / "launcher.secret")
    # -P: the installed package, whatever lies in the folder that this is started from.
    launcher = [sys.executable, "-P", "-m", "client.launcher", f"{LOOPBACK}:{runtime_port}", secret]
    return [
        *(*launcher, tool("flower-supernode")),
        *("--isolation", "process", "--superexec-auth-secret-file", secret),
        *("--superlink", site.server, "--root-certificates", str(folder / "ca.crt")),
        *("--auth-supernode-private-key", str(folder / "node.key")),
        *("--node-config", text),
        *("--host", LOOPBACK, "--port", str(runtime_port)),
    ]


def environment(folder: Path) -> dict[str, str]:
    """Environment of a site's node, with a home of its own.

    What it says to itself goes by no proxy, which would see the tasks' tokens.
    """
    home = folder / "flwr"
    home.mkdir(exist_ok=True)
    found = flower_environment(home.resolve())
    for name in ("no_proxy", "NO_PROXY"):
        found[name] = ",".join(filter(None, (found.get(name), LOOPBACK)))
    return found
