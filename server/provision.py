"""The coordinator's folder: authority, certificate, app bundle, settings, the kit, IT's files.

Keys are never overwritten: running it again renews what ends soon and adds what is missing. The kit
is the same for every hospital and holds no secret; a hospital makes its own key.
"""

import secrets
from pathlib import Path

import tomli_w

from echofm_core.app_bundle import BUNDLE
from echofm_core.plan.document import Plan
from echofm_core.runtime.files import check_place, write_whole
from server.certificates import certify, make_authority
from server.deployment import check_names, write_deployment
from server.kit import Kit


def hand_out(kit: Kit, plan: Plan) -> Path:
    """Write a plan as hospitals approve it: with every default, without what is this machine's."""
    path = kit.plans / f"{plan.run_name()}.toml"
    return write_whole(path, plan.to_shared_toml().encode())


def provision(
    folder: Path, host: str, port: int | None, *, local_port: int | None = None
) -> tuple[Kit, bool]:
    """Write what a coordinator needs; keys that are there stay, and sites that are admitted.

    Args:
        folder: Of the coordinator.
        host: Name or address under which sites reach the server; with further ones before, the
            certificate covers all of them.
        port: Port that they connect to: the proxy's where there is one. None for the one that the
            folder has, or else 443.
        local_port: Port of the SuperLink on this machine; None as above.

    Returns:
        The federation, and whether the server's certificate is new.

    Raises:
        PlanError: The host is none that sites can connect to, or nginx cannot name the folder.
        FederationError: The authority's key is gone.
        OutputError: The folder cannot be written.
    """
    kit = Kit(folder.resolve())
    check_names(host, kit.folder)
    check_place(kit.folder, folder=True)
    kit.folder.mkdir(parents=True, exist_ok=True)
    make_authority(kit.authority, kit.authority_key)
    renewed = certify(kit.certificate, kit.key, host, (kit.authority, kit.authority_key))
    if not kit.secret.exists():
        write_whole(kit.secret, secrets.token_bytes(32), private=True)
    if not (kit.folder / "server.toml").exists():
        write_whole(kit.folder / "server.toml", b"")  # the defaults
    chosen = {"public": port, "local": local_port}
    given = {name: number for name, number in chosen.items() if number is not None}
    kit.keep_ports(host=host, **given)
    write_whole(kit.bundle / "pyproject.toml", BUNDLE.encode())
    kit.handout.mkdir(exist_ok=True)
    write_whole(kit.handout / "ca.crt", kit.authority.read_bytes())
    server = {"server": f"{host}:{kit.ports().public}"}
    write_whole(kit.handout / "federation.toml", tomli_w.dumps(server).encode())
    write_deployment(kit)
    return kit, renewed
