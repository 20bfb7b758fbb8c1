"""What a hospital can know before its node starts: each line is checked, not assumed."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import time
from collections.abc import Iterator
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
#: Each check, in the order of repair, and those that must hold before it can be made.
CHECKS = {
    "settings": (),
    "manifest": ("settings",),
    "splits": ("manifest",),
    "labels": ("manifest",),
    **dict.fromkeys(("store", "state", "port", "keys", "server"), ("settings",)),
    "admission": ("keys", "server"),
}
_KIT = "`echofm client init KIT` makes it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One check: its subject, what was found and what to do, and an exit code if it failed."""

    subject: str
    words: str
    exit_code: int = 0

    def __str__(self) -> str:
        """``ok: subject: words``, or ``FAIL: ...``."""
        return f"{'FAIL' if self.exit_code else 'ok'}: {self.subject}: {self.words}"


class LastingFaultError(FederationError):
    """What keeps a node out however often it is started."""


def preflight(folder: Path, port: int) -> Iterator[Line]:
    """Check all that a start needs; what cannot be checked after an earlier fault has no line.

    Args:
        folder: The kit, with ``site.toml``.
        port: Local port of the node's own interface.
    """
    checks, held = _Checks(folder, port), set[str]()
    for subject, needed in CHECKS.items():
        if not held.issuperset(needed):
            continue
        try:
            line = Line(subject=subject, words=getattr(checks, subject)())
            held.add(subject)
        except EchoFMError as error:
            line = Line(subject=subject, words=str(error), exit_code=error.exit_code)
        yield line


def lasting_fault(folder: Path, port: int) -> EchoFMError | None:
    """What keeps a node out however often it is started; None where that is not known.

    A server that does not answer is none: it may come back.
    """
    checks = _Checks(folder, port)
    try:
        for subject in ("settings", "keys", "server", "admission"):
            getattr(checks, subject)()
    except EchoFMError as error:
        passing = type(error) is FederationError
        return None if passing else error
    return None


class _Checks:
    """The checks of a kit by subject: each returns what it found, or raises what is wrong."""

    site: SiteFile
    clips: pd.DataFrame | None = None

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number

    def settings(self) -> str:
        self.site = load_site(self.folder)
        file, rules = self.folder / "site.toml", self.site.policy.digest()
        return f"{file} of {self.site.name}; its [policy] has the hash {rules}"

    def manifest(self) -> str:
        from echofm_core.data.manifest import load_manifest

        clips = load_manifest(Path(self.site.manifest))
        if clips.empty:
            raise ManifestError(f"{self.site.manifest} holds no clip; see `echofm data doctor`.")
        self.clips = clips
        return many(len(clips), "clip")

    def splits(self) -> str:
        """Patients in one split each; :func:`load_manifest` has refused any other manifest."""
        from echofm_core.data.patients import patient_keys

        assert self.clips is not None
        patients = patient_keys(self.clips).groupby(self.clips["split"]).nunique()
        if patients.empty:
            return "none in the manifest: each plan cuts by patient, as its [protocol] says"
        if not patients.get("train"):
            raise EmptySiteError(
                f"nobody is in the split `train` ({patients.to_dict()}); mend the column `split`."
            )
        listed = ", ".join(f"{count} {split}" for split, count in patients.items())
        untested = "; without test patients the model is not tested here"
        return f"patients are {listed}, nobody in two{'' if patients.get('test') else untested}"

    def labels(self) -> str:
        assert self.clips is not None
        columns = dict.fromkeys(spec.column for spec in TASKS.values() if spec.column != "view")
        counts = {name: int(self.clips[name].notna().sum()) for name in columns}
        listed = [f"{many(count, 'clip')} with {name}" for name, count in counts.items() if count]
        return ", ".join(listed) or "none: this site takes part in pre-training only"

    def store(self) -> str:
        """The store opens, and holds frames of the manifest's clips."""
        from echofm_core.data.store.clip_store import open_stores

        path = self.site.store
        store = open_stores(Path(path))
        if self.clips is None:
            there = many(len(store), "clip is", "clips are")
            return f"{there} in {path}; whether they are the manifest's is open"
        clips = [str(clip) for clip in self.clips["clip_id"] if str(clip) in store]
        build = "run `echofm data store MANIFEST --out STORE`"
        if not clips:
            raise StoreError(f"no clip of the manifest is in {path}; {build}.")
        for clip in {clips[0], clips[-1]}:
            store.frames(clip, 0, 1)
        left = len(self.clips) - len(clips)
        other = many(left, "clip is", "clips are")
        rest = f"; {other} not in it and will not be used: {build} to see why" if left else ""
        there = many(len(clips), "clip of the manifest is", "clips of the manifest are")
        return f"{there} in {path}{rest}"

    def state(self) -> str:
        """A file can be written there."""
        state = Path(self.site.state)
        try:
            state.mkdir(parents=True, exist_ok=True)
            trial = state / f".check.{os.getpid()}"
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise DataRootError(
                f"{state} cannot be written to ({error.strerror}); set `state` to a folder that "
                "this user owns."
            ) from None
        return f"{state} can be written to"

    def port(self) -> str:
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", self.number))
            except OSError:
                raise FederationError(
                    f"port {self.number} of this machine is in use, perhaps by this site's own "
                    "running node; stop it, or choose another with --port."
                ) from None
        return f"{self.number} is free"

    def keys(self) -> str:
        """Private and public key belong together, and the private one is private."""
        from cryptography.hazmat.primitives.serialization import load_ssh_public_key

        private, public, authority = (
            self.folder / name for name in ("node.key", "node.pub", "ca.crt")
        )
        for path in (private, public, authority):
            if not path.is_file():
                raise DataRootError(f"{path} is missing; {_KIT}.")
        try:
            key = load_ssh_public_key(public.read_bytes())
        except ValueError:
            raise DataRootError(f"{public} holds no public key; {_KIT}.") from None
        pair = f"node.key and node.pub of {self.folder}"
        if self._private_key().public_key() != key:
            raise DataRootError(f"{pair} do not belong together; {_KIT}.")
        mode = stat.S_IMODE(private.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            raise DataRootError(f"{private} can be read by others (mode {mode:o}); chmod 600 it.")
        return f"{pair} belong together"

    def _private_key(self) -> ec.EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        path = self.folder / "node.key"
        try:
            key = load_ssh_private_key(path.read_bytes(), None)
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise DataRootError(f"{path} holds no private key of an elliptic curve; {_KIT}.")
        return key

    def server(self) -> str:
        """It is there, and its certificate comes from the kit's authority for that name."""
        server = self.site.server
        host, _, port = server.rpartition(":")
        try:
            trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
            with (
                socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
                trust.wrap_socket(plain, server_hostname=host) as safe,
            ):
                certificate = safe.getpeercert() or {}
        except OSError as error:  # of which ssl.SSLError is one
            lasts = isinstance(error, ssl.SSLCertVerificationError)
            raise (LastingFaultError if lasts else FederationError)(
                f"{server} cannot be reached safely ({error}); check the firewall, the name and "
                "ca.crt, and whether the coordinator has started the server."
            ) from None
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        days = (ends - datetime.now(UTC)).days
        soon = f"; it ends in {days} days: ask for a new kit" if days < SOON else ""
        return f"{server} has the certificate of the kit's authority until {ends:%Y-%m-%d}{soon}"

    def admission(self) -> str:
        """The server knows this site's key, or soon does: it registers keys as it starts."""
        from client.flower_private import key_is_admitted

        server = self.site.server
        asked = (server, str(self.folder / "ca.crt"), self._private_key())
        until = time.monotonic() + PATIENCE
        try:
            while not (known := key_is_admitted(*asked)) and time.monotonic() < until:
                time.sleep(1)
        except OSError as error:
            raise FederationError(
                f"{server} did not say whether it knows this site's key ({error}); clocks that "
                "differ by minutes are one reason, a proxy that does not pass /v1/fleet/ another."
            ) from None
        if not known:
            raise LastingFaultError(
                f"{server} does not know this site's key; ask the coordinator for `echofm server "
                f"admit FOLDER {self.site.name} KEY` with the key in {self.folder}/node.pub."
            )
        return f"{server} knows this site's key"
