"""What a hospital can know before its node starts: each line is looked at, not assumed."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from client.launch import SiteFile, load_site
from echofm_core.runtime.errors import (
    DataRootError,
    EchoFMError,
    EmptySiteError,
    FederationError,
    ManifestError,
    StoreError,
)
from echofm_core.runtime.text import many
from echofm_core.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd
    from cryptography.hazmat.primitives.asymmetric import ec

#: Seconds that the server may take to answer.
PATIENCE = 10.0
#: Days of a certificate's life from which on its end is named.
SOON = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One check.

    Attributes:
        subject: What was looked at.
        words: What was found; with a fault, what to do too.
        exit_code: 0 where it holds.
    """

    subject: str
    words: str
    exit_code: int = 0

    def __str__(self) -> str:
        """``ok: subject: words``, or ``FAIL: ...``."""
        return f"{'FAIL' if self.exit_code else 'ok'}: {self.subject}: {self.words}"


def preflight(folder: Path, port: int) -> Iterator[Line]:
    """Look at everything that a start needs, one line a check, in the order of repair.

    What cannot be looked at because of an earlier fault has no line.

    Args:
        folder: The kit, with ``site.toml``.
        port: Local port of the node's own interface.
    """
    try:
        site = load_site(folder)
    except EchoFMError as error:
        yield Line(subject="settings", words=str(error), exit_code=error.exit_code)
        return
    yield Line(subject="settings", words=f"{folder / 'site.toml'} of {site.name}")
    manifest: pd.DataFrame | None = None
    try:
        manifest = _manifest(site)
        yield Line(subject="manifest", words=many(len(manifest), "clip"))
    except EchoFMError as error:
        yield Line(subject="manifest", words=str(error), exit_code=error.exit_code)
    if manifest is not None:
        yield _line("splits", lambda: _splits(manifest))
        yield _line("labels", lambda: _labels(manifest))
    yield _line("store", lambda: _store(site, manifest))
    yield _line("state", lambda: _state(site))
    yield _line("port", lambda: _port(port))
    keys = _line("keys", lambda: _keys(folder))
    server = _line("server", lambda: _server(folder, site))
    yield keys
    yield server
    if not keys.exit_code and not server.exit_code:
        yield _line("admission", lambda: _admission(folder, site))


def _line(subject: str, look: Callable[[], str]) -> Line:
    try:
        return Line(subject=subject, words=look())
    except EchoFMError as error:
        return Line(subject=subject, words=str(error), exit_code=error.exit_code)


def _manifest(site: SiteFile) -> pd.DataFrame:
    from echofm_core.data.manifest import load_manifest

    manifest = load_manifest(Path(site.manifest))
    if manifest.empty:
        raise ManifestError(f"{site.manifest} holds no clip; see `echofm data doctor`.")
    return manifest


def _splits(manifest: pd.DataFrame) -> str:
    """Patients in one split each; :func:`load_manifest` has refused any other manifest."""
    from echofm_core.data.patients import patient_keys

    patients = patient_keys(manifest).groupby(manifest["split"]).nunique()
    if patients.empty:
        return "none in the manifest: each plan cuts by patient, as its [protocol] says"
    if not patients.get("train"):
        raise EmptySiteError(
            f"nobody is in the split `train` ({patients.to_dict()}); mend the column `split`."
        )
    listed = ", ".join(f"{count} {split}" for split, count in patients.items())
    untested = (
        "" if patients.get("test") else "; without test patients the model is not tested here"
    )
    return f"patients are {listed}, nobody in two{untested}"


def _labels(manifest: pd.DataFrame) -> str:
    columns = dict.fromkeys(spec.column for spec in TASKS.values() if spec.column != "view")
    counts = {name: int(manifest[name].notna().sum()) for name in columns}
    listed = ", ".join(
        f"{many(count, 'clip')} with {name}" for name, count in counts.items() if count
    )
    return listed or "none: this site takes part in pre-training only"


def _store(site: SiteFile, manifest: pd.DataFrame | None) -> str:
    """The store opens, and holds frames of the manifest's clips."""
    from echofm_core.data.store.clip_store import open_stores

    store = open_stores(Path(site.store))
    if manifest is None:
        there = many(len(store), "clip is", "clips are")
        return f"{there} in {site.store}; whether they are the manifest's is open"
    clips = [str(clip) for clip in manifest["clip_id"] if str(clip) in store]
    build = "run `echofm data store MANIFEST --out STORE`"
    if not clips:
        raise StoreError(f"no clip of the manifest is in {site.store}; {build}.")
    for clip in {clips[0], clips[-1]}:
        store.frames(clip, 0, 1)
    left = len(manifest) - len(clips)
    other = many(left, "clip is", "clips are")
    rest = f"; {other} not in it and will not be used: {build} to see why" if left else ""
    there = many(len(clips), "clip of the manifest is", "clips of the manifest are")
    return f"{there} in {site.store}{rest}"


def _state(site: SiteFile) -> str:
    """A file can be written there."""
    state = Path(site.state)
    try:
        state.mkdir(parents=True, exist_ok=True)
        trial = state / f".check.{os.getpid()}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise DataRootError(
            f"{state} cannot be written to ({error.strerror}); set `state` to a folder that this "
            "user owns."
        ) from None
    return f"{state} can be written to"


def _port(port: int) -> str:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            raise FederationError(
                f"port {port} of this machine is in use, perhaps by this site's own running node; "
                "stop it, or choose another with --port."
            ) from None
    return f"{port} is free"


def _keys(folder: Path) -> str:
    """Private and public key belong together, and the private one is private."""
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    kit = "ask the coordinator for the kit"
    for name in ("node.key", "node.pub", "ca.crt"):
        if not (folder / name).is_file():
            raise DataRootError(f"{folder / name} is missing; {kit}.")
    try:
        public = load_ssh_public_key((folder / "node.pub").read_bytes())
    except ValueError:
        raise DataRootError(f"{folder / 'node.pub'} holds no public key; {kit}.") from None
    if _private_key(folder).public_key() != public:
        raise DataRootError(f"node.key and node.pub of {folder} do not belong together; {kit}.")
    mode = stat.S_IMODE((folder / "node.key").stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise DataRootError(
            f"{folder / 'node.key'} can be read by others (mode {mode:o}); chmod 600 it."
        )
    return f"node.key and node.pub of {folder} belong together"


def _private_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key((folder / "node.key").read_bytes(), None)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DataRootError(
            f"{folder / 'node.key'} holds no private key of an elliptic curve; ask the coordinator "
            "for the kit."
        )
    return key


def _server(folder: Path, site: SiteFile) -> str:
    """The server is there, and its certificate comes from the kit's authority for that name."""
    host, _, port = site.server.rpartition(":")
    try:
        trust = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        with (
            socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
            trust.wrap_socket(plain, server_hostname=host) as safe,
        ):
            certificate = safe.getpeercert() or {}
    except OSError as error:  # of which ssl.SSLError is one
        raise FederationError(
            f"{site.server} cannot be reached safely ({error}); check the firewall, the name and "
            "ca.crt, and whether the coordinator has started the server."
        ) from None
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = (ends - datetime.now(UTC)).days
    soon = f"; it ends in {days} days: ask for a new kit" if days < SOON else ""
    return f"{site.server} has the certificate of the kit's authority until {ends:%Y-%m-%d}{soon}"


def _admission(folder: Path, site: SiteFile) -> str:
    """The server knows this site's key, or soon does: it registers keys as it starts."""
    from client.flower_private import key_is_admitted

    asked = (site.server, str(folder / "ca.crt"), _private_key(folder))
    until = time.monotonic() + PATIENCE
    try:
        while not (known := key_is_admitted(*asked)) and time.monotonic() < until:
            time.sleep(1)
    except OSError as error:
        raise FederationError(
            f"{site.server} did not say whether it knows this site's key ({error}); clocks that "
            "differ by minutes are one reason, a proxy that does not pass /v1/fleet/ another."
        ) from None
    if not known:
        raise FederationError(
            f"{site.server} does not know this site's key; ask the coordinator to start the server "
            f"with the kit of {site.name}, and to hand over that kit."
        )
    return f"{site.server} knows this site's key"
