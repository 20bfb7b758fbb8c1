"""The apps under a real SuperLink and three SuperNodes, on loopback with TLS and node keys."""

import hashlib
import json
import socket
import stat
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from client.approval import record_approval
from client.flower_private import key_is_admitted
from client.launch import command, environment
from client.preflight import preflight
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.runtime.array_files import load_metadata
from echofm_core.runtime.chained_log import ChainedLog
from echofm_core.runtime.errors import FederationError, PlanError
from echofm_core.training.config import ExecutionConfig
from server.ending import FederationResult
from server.kit import Kit
from server.launch import start, stop, superlink
from server.members import admit, register, revoke, site_names
from server.outcome import score_table
from server.provision import hand_out, provision
from server.rounds import run_federation
from server.submit import submit
from simulations.engine import Engine, SiteSettings
from tests.federation.foreign import ForeignApp
from tests.federation.small import TEST, TRAIN, small_plan, validating, with_states
from tests.support.hospitals import hospital, joined

#: The nodes come in another order than that of the names.
SITES = ("gamma", "alpha", "beta")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    kit = joined(provision(tmp_path / "fed", "fl.example.org", 8000)[0], "alpha")
    private = [kit.authority_key, kit.key, kit.secret, hospital(kit, "alpha") / "node.key"]
    before = [path.read_bytes() for path in private]
    again = joined(provision(tmp_path / "fed", "fl.example.org", 8000)[0], "alpha", "beta")
    assert [path.read_bytes() for path in private] == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert site_names(again) == ["alpha", "beta"]
    kept = [path.read_bytes() for path in kit.handout.iterdir()]
    assert not [content for content in kept if b"PRIVATE" in content], "the kit is no secret"


def test_the_certificate_names_the_host_and_loopback(tmp_path: Path) -> None:
    kit, _ = provision(tmp_path, "fl.example.org", 8000)
    certificate = x509.load_pem_x509_certificate(kit.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "fl.example.org"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_the_bundle_holds_no_code(tmp_path: Path) -> None:
    kit, _ = provision(tmp_path, "127.0.0.1", 8000)
    assert [path.name for path in kit.bundle.iterdir()] == ["pyproject.toml"]
    app = tomllib.loads((kit.bundle / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert app["components"] == {"serverapp": "server.app:app", "clientapp": "client.app:app"}


def test_a_site_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    kit, _ = provision(tmp_path, "127.0.0.1", 8000)
    with pytest.raises(PlanError, match="not a plain name"):
        admit(kit, "../elsewhere", "key")
    with pytest.raises(FederationError, match="has no site"):
        revoke(kit, "../elsewhere")


@pytest.mark.slow
@pytest.mark.deployed
@pytest.mark.timeout(600)
def test_deployed_and_simulated_give_the_same_weights(
    built_sites: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With adapters averaged exactly, the wire's hardest case: what is frozen crosses in the first
    round alone, and the layers below adapters in each.

    The manifests are as `echofm data index` leaves them, without a site.
    """
    monkeypatch.setenv("FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "0.5")  # to wait less
    adapters = {"rounds": 2, "mode": "lora", "lora": {"averaging": "exact"}}
    plan = small_plan(pretrain={"rounds": 1}, finetune=adapters, federation={"min_sites": 3})
    sites = validating(built_sites, tmp_path)
    sites.sort(key=lambda site: SITES.index(site.name))
    with Engine(execution=ExecutionConfig(device="cpu")) as engine:
        here = with_states(sites, tmp_path / "here")
        expected = run_federation(engine.grid(here), plan, tmp_path / "simulated")

    port, *node_ports = free_ports(1 + len(sites))
    kit = joined(provision(tmp_path / "fed", "127.0.0.1", port)[0], *SITES)
    for site in with_states(sites, tmp_path / "there"):
        settings = {
            "name": site.name, "server": f"127.0.0.1:{port}", "manifest": str(site.manifest),
            "store": str(site.store), "state": str(site.state), "device": "cpu",
            "policy": {"min_patients": 1},
        }  # fmt: skip
        (hospital(kit, site.name) / "site.toml").write_text(tomli_w.dumps(settings))
        record_approval(hospital(kit, site.name), load_plan(hand_out(kit, plan)))
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    processes = []
    with superlink(kit, "127.0.0.1", port):
        try:
            register(kit)  # first: a node with an unknown key gives up
            stranger = ec.generate_private_key(ec.SECP384R1())
            assert not key_is_admitted(f"127.0.0.1:{port}", str(kit.authority), stranger)
            for name, node_port in zip(SITES, node_ports, strict=True):
                folder = hospital(kit, name)
                lines = list(preflight(folder, node_port))
                assert not [line for line in lines if line.exit_code], lines
                assert lines[-1].words == f"127.0.0.1:{port} knows this site's key"
                run = command(folder, node_port)
                processes.append(start(run, environment(folder), folder / "node.log"))
            check_refusals(ForeignApp(tmp_path / "foreign", len(SITES)), kit, tmp_path / "there")
            submit(kit, tmp_path / "plan.toml", tmp_path / "deployed", timeout=500)
        except FederationError as error:
            logs = [*kit.folder.glob("*.log"), *hospital(kit, "any").parent.glob("*/*.log")]
            tails = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
            pytest.fail(f"{error}\n{tails}")
        finally:
            stop(processes)
    found = load_metadata(tmp_path / "deployed" / "model" / "model.safetensors")
    assert found["digest"] == expected.digest
    assert found["plan_hash"] == plan.digest()
    check_folder(tmp_path / "deployed", expected)
    check_validation(tmp_path / "deployed", tmp_path / "simulated")
    check_homes(tmp_path / "there", plan)


def check_refusals(foreign: ForeignApp, kit: Kit, states: Path) -> None:
    """Somebody else's code, submitted to the same nodes: it runs at no site, and each says so."""
    said = sorted(foreign.run(kit))
    assert not foreign.mark.exists()
    assert len(said) == len(SITES)
    for name in SITES:
        (record,) = ChainedLog(states / name / "audit.jsonl").records
        assert record["outcome"] == "refused" and record["sentence"] in said
        digest = hashlib.sha256(foreign.bundle()).hexdigest()
        assert f"refused the app bundle with SHA-256 {digest}" in record["sentence"]
        assert "BundleError" in (states / name / "site.log").read_text()


def check_validation(run: Path, simulated: Path) -> None:
    """Every round was validated at every site, the last of a phase too, and alike."""
    for path in (run / "journal").iterdir():
        found, there = (
            json.loads(file.read_text())["validation"]
            for file in (path, simulated / "journal" / path.name)
        )
        assert set(found) == set(SITES) and found == there, path.name


def check_folder(run: Path, expected: FederationResult) -> None:
    """Replies were folded in name order; the scores are those of the simulated sites."""
    for entry in (run / "journal").iterdir():
        assert list(json.loads(entry.read_text())["sites"]) == sorted(SITES)
    scores = pd.read_parquet(run / "scores.parquet")
    assert set(scores["site"]) == set(SITES) and set(scores["patients"]) == {TEST}
    pd.testing.assert_frame_equal(scores, score_table(expected.site_results))
    assert {path.name for path in run.iterdir()} == {
        *("plan.toml", "journal", "checkpoints", "model", "evaluation.json", "summary.json"),
        "sessions.json",
        "descriptions.json",
        "live.json",
        *("metrics.parquet", "scores.parquet", "levels.parquet", "paired.parquet"),
        *("sites.parquet", "report.html"),
    }
    assert "stay in the state folder of each site" in (run / "report.html").read_text()


def check_homes(states: Path, plan: Plan) -> None:
    """Each site has predictions of its own two test patients, and of nobody else."""
    for name in SITES:
        rows = pd.read_parquet(states / name / plan.run_name() / "predictions.parquet")
        assert set(rows["patient_id"]) == {f"{name}-p{TRAIN[name] + number}" for number in (0, 1)}
