"""Who may take part: each site's name with its one public key, and what the SuperLink calls it.

Symptom: a node with an admitted key calls itself by another site's name, and counts as that one.
Reason: Flower knows keys and numbers, and no names. Protocol: the coordinator admits a name with a
key; the SuperLink gives each key that it learns a node number, which is written down beside the
name; a reply counts under a name only where it comes from that name's node. What can still go
wrong: whoever has a site's private key is that site, until it is revoked.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from echofm_core.runtime.errors import FederationError, PlanError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import site_name_fault
from server.flower import ask, serving
from server.kit import CONNECTION, Kit


def admit(kit: Kit, site: str, key: str) -> bool:
    """Let a site take part from now on, under this name and with this key alone.

    Args:
        kit: The federation; where its SuperLink runs, it learns of the key at once.
        site: Name of the site.
        key: Its public key as OpenSSH text, or the path of a file with it.

    Returns:
        Whether anything changed: the site may be admitted with this key already.

    Raises:
        PlanError: The name is no legal one, or the key is none.
        FederationError: The name has another key, or the key another name, or it was revoked.
    """
    if fault := site_name_fault(site):
        raise PlanError(f"site name {site[:80]!r} {fault}; choose another.")
    public = _read_key(key)
    for name, path in _keys(kit).items():
        same = path.read_bytes() == public
        if name == site and same:
            return False
        if name == site:
            raise FederationError(
                f"site {site} is admitted with another key; revoke that one first: `echofm server "
                f"revoke {kit.folder} {site}`."
            )
        if same:
            raise FederationError(f"this key is that of site {name}; each site makes its own.")
    if any(path.read_bytes() == public for path in _revoked(kit).glob("*.pub")):
        raise FederationError(
            "this key was revoked, and may not come back; the site makes a new one: without its "
            "node.key, `echofm client init` does."
        )
    kit.sites.mkdir(exist_ok=True)
    write_whole(_key_of(kit, site), public)
    if _runs(kit):
        register(kit)
    return True


def revoke(kit: Kit, site: str) -> None:
    """Let a site take part no more; its key is kept under ``revoked``, and may not come back.

    Raises:
        FederationError: There is no such site, or the SuperLink that runs did not let go of it.
    """
    path = _key_of(kit, site)
    if not path.exists():
        raise FederationError(
            f"{kit.folder} has no site {site[:80]!r}; it has "
            f"{', '.join(site_names(kit)) or 'none'}."
        )
    node = nodes(kit).get(site)
    if node is not None and _runs(kit):
        ask(kit, "supernode", "unregister", str(node), CONNECTION)
    lines = [f"{number} {name} {key}" for number, name, key in _noted(kit) if name != site]
    write_whole(kit.registered, "".join(f"{line}\n" for line in lines).encode())
    _revoked(kit).mkdir(exist_ok=True)
    path.rename(_revoked(kit) / f"{site}-{_digest(path)[:8]}.pub")


def site_names(kit: Kit) -> list[str]:
    """Sites that are admitted."""
    return sorted(_keys(kit))


def nodes(kit: Kit) -> Mapping[str, int]:
    """Node number that the running SuperLink gave each site's key."""
    return {name: number for number, name, _ in _noted(kit)}


def register(kit: Kit) -> None:
    """Make the sites' keys known to the running SuperLink, and write down what it calls them.

    Raises:
        FederationError: One of them could not be.
    """
    known = {(name, key) for _, name, key in _noted(kit)} if _runs(kit) else set()
    for site, path in _keys(kit).items():
        key = _digest(path)
        if (site, key) in known:
            continue
        try:
            answer = ask(kit, "supernode", "register", str(path), CONNECTION)
        except FederationError as error:
            raise FederationError(
                f"the key of site {site} could not be registered ({error}); is `echofm server "
                f"start` running, and {path} whole? Started again, it registers all keys anew."
            ) from None
        with kit.registered.open("a", encoding="utf-8") as file:
            file.write(f"{answer['node-id']} {site} {key}\n")


def _runs(kit: Kit) -> bool:
    """What was noted is of a SuperLink that runs: it keeps keys as long as it lives."""
    port = kit.ports().health
    return bool(port) and serving(port)


def _noted(kit: Kit) -> list[tuple[int, str, str]]:
    """Node number, site and digest of the key of each registration with the SuperLink."""
    if not kit.registered.exists():
        return []
    lines = kit.registered.read_text(encoding="utf-8").splitlines()
    return [(int(number), site, key) for number, site, key in map(str.split, lines)]


def _keys(kit: Kit) -> dict[str, Path]:
    found = sorted(kit.sites.glob("*.pub")) if kit.sites.is_dir() else []
    return {path.name.removesuffix(".pub"): path for path in found}


def _key_of(kit: Kit, site: str) -> Path:
    return kit.sites / f"{site}.pub"


def _revoked(kit: Kit) -> Path:
    return kit.folder / "revoked"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_key(key: str) -> bytes:
    """A public key in one form, without its comment."""
    text = key
    if len(key) < 4096 and "\n" not in key and Path(key).is_file():
        text = Path(key).read_text(encoding="utf-8", errors="replace")
    try:
        public = load_ssh_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise PlanError(
            f"{key[:80]!r} is no public key of a site; give the file node.pub that `echofm client "
            "init` wrote, or its line that begins with ecdsa-sha2-."
        )
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
