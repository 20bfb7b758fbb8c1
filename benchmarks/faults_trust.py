"""Certificates and keys that are wrong, old, unknown, taken back or stolen."""

from __future__ import annotations

import datetime
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from benchmarks.faults_case import Case, Outcome, judge
from benchmarks.faults_run import SITES, Command, plan_of, reach, stop, until
from benchmarks.faults_world import HOST, World
from client.enroll import enroll
from server.certificates import make_authority
from tests.federation.test_hostile_sites import (
    ATTACKS,
    test_an_attack_is_refused_by_name_and_leaves_no_trace,
)
from tests.support.machines import MIDDLE

VICTIM = SITES[2]


def refused(checked: Command, words: str) -> Outcome:
    """What a command said that was to fail with these words."""
    code = checked.end()
    said = [line for line in checked.said().splitlines() if line.startswith(("FAIL", "echofm:"))]
    right = code and any(re.search(words, line) for line in said)
    return Outcome([] if right else [f"exit code {code}: {checked.said()[-600:]}"], said[-1:])


def another_site(world: World) -> Path:
    """A further hospital's folder on the victim's machine, not admitted; data as the victim has."""
    folder = world.machines[VICTIM].home / "further"
    shutil.rmtree(folder, ignore_errors=True)
    enroll(world.kit.handout, "delta", folder)
    text = (world.site(VICTIM) / "site.toml").read_text()
    (folder / "site.toml").write_text(text.replace(f'"{VICTIM}"', '"delta"', 1))
    return folder


def start_of(world: World, folder: Path) -> Command:
    """`client start`, beside the node that may run there."""
    return world.echofm(world.machines[VICTIM], "client", "start", folder, "--port", 9095)


def wrong_authority(world: World) -> Outcome:
    """A site that trusts another authority does not talk to this server."""
    folder = another_site(world)
    (folder / "ca.crt").unlink()
    make_authority(folder / "ca.crt", folder / "ca.key")
    return refused(start_of(world, folder), "cannot be reached safely.*certificate verify failed")


def unregistered(world: World) -> Outcome:
    """A key that the coordinator has not admitted is turned away, with what to do."""
    return refused(start_of(world, another_site(world)), "does not know this site's key")


def expired(world: World) -> Outcome:
    """Sites and coordinator say that it is over, and how to renew it; renewed, all goes on."""
    expire(world.kit.certificate, world.kit.authority_key)
    world.kill("nginx", world.coordinator)
    world.proxy()
    try:
        outcome = refused(start_of(world, another_site(world)), "certificate has expired")
        stop(world.server)
        again = world.echofm(world.coordinator, "server", "start", world.kit.folder)
        other = refused(again, "ended on .*`echofm server provision")
    finally:
        renewing = ("server", "provision", world.kit.folder, "--host", HOST)
        renewed = world.echofm(world.coordinator, *renewing)
        code = renewed.end()
        world.kill("nginx", world.coordinator)
        world.serve()
    if code or "certificate is new" not in renewed.said():
        outcome.faults.append(f"provision did not renew it: {renewed.said()}")
    again = start_of(world, another_site(world))
    after = refused(again, "does not know this site's key")  # whom it talks to again
    return Outcome(
        outcome.faults + other.faults + after.faults, outcome.seen + other.seen + after.seen
    )


def expire(certificate: Path, authority_key: Path) -> None:
    """Sign a certificate again, for a time that is over."""
    old = x509.load_pem_x509_certificate(certificate.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now - datetime.timedelta(days=1))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    key = load_pem_private_key(authority_key.read_bytes(), None)
    signed = builder.sign(key, hashes.SHA384())  # type: ignore[arg-type]
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))


def revoked(world: World) -> Outcome:
    """Revoked in the second round: its node ends with a sentence, the others go on without it."""
    run = world.submit(plan_of("revoked", deadline_seconds=60))
    reach(run, world.site(VICTIM), "in training")
    taken = world.echofm(world.coordinator, "server", "revoke", world.kit.folder, VICTIM)
    try:
        outcome = judge(world, run, run.command.end(), losing=True)
        client = world.clients[VICTIM]
        until(lambda: client.process.poll() is not None, "the end of the revoked node", 200)
        said = client.sentence()
        outcome.seen.append(f"its node ended with {client.process.returncode}: {said}")
        if taken.end() or "does not know this site's key" not in said:
            outcome.faults.append("the revoked node did not say why it ended")
    finally:
        for name in ("node.key", "node.pub"):
            (world.site(VICTIM) / name).unlink(missing_ok=True)
        enroll(world.kit.handout, VICTIM, world.site(VICTIM))
        public = world.site(VICTIM) / "node.pub"
        admitted = world.echofm(
            world.coordinator, "server", "admit", world.kit.folder, VICTIM, public
        )
        admitted.end()
    return outcome


def stolen(world: World) -> Outcome:
    """Who has a site's key cannot be another site with it, nor push a node out that is there."""
    thief = world.machines[MIDDLE]
    folder = thief.home / "stolen"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world.site(VICTIM), folder, ignore=shutil.ignore_patterns("state", "flwr"))
    text = (folder / "site.toml").read_text()
    (folder / "site.toml").write_text(text.replace(f'"{VICTIM}"', f'"{SITES[0]}"', 1))
    beside = world.echofm(thief, "client", "start", folder)
    until(lambda: "again in" in beside.said(), "the refusal of a second node with one key", 120)
    stop(beside)
    stop(world.clients[VICTIM])
    until(lambda: VICTIM not in world.online(), "the site's own node to be gone")
    instead = world.echofm(thief, "client", "start", folder)
    run = world.submit(plan_of("stolen"))
    named = f"it calls itself {SITES[0]}, and its key is that of {VICTIM}"
    run.command.wait_for(named)
    stop(run.command)
    stop(instead)
    world.mend()
    run = world.submit(run.plan, resume=True)
    notes = ["a second node with the key of one that is there is turned away", named]
    return judge(world, run, run.command.end(), lossless=True, notes=notes)


def attack(kind: str) -> Callable[[World], Outcome]:
    """An update that was made to do harm, in the true round loop."""

    def case(world: World) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            test_an_attack_is_refused_by_name_and_leaves_no_trace(kind, Path(folder))
        return Outcome([], ["refused by name in each round; the digest is that of the others"])

    return case


CASES = (
    Case("wrong authority at a site", wrong_authority, alone=True),
    Case("expired certificate", expired, alone=True),
    Case("unregistered key", unregistered, alone=True),
    Case("key revoked in a run", revoked),
    Case("stolen key", stolen),
    *(Case(f"malicious update: {kind}", attack(kind), alone=True) for kind in ATTACKS),
)
