"""A patient withdraws in the middle of a run: it goes on without, and nobody is refused for it."""

from __future__ import annotations

import json
from pathlib import Path

from client.data_commands import withdraw
from server.events import Event, EventKind
from server.rounds import run_federation
from simulations.engine import InProcessGrid, _Inline
from simulations.flower_private import become_server
from tests.federation.small import build_sites, small_plan
from tests.federation.test_hostile_server import Hospital

PLAN = small_plan(pretrain={"rounds": 0}, finetune={"rounds": 2, "tasks": ["ef"]})


def test_a_withdrawal_holds_from_the_next_round_on(tmp_path: Path) -> None:
    become_server()
    built = build_sites(tmp_path, ("alpha", "beta"))
    hospitals = {site.name: Hospital(site, tmp_path / f"folder of {site.name}") for site in built}
    for site in hospitals.values():
        site.folder.mkdir()
        site.allow(min_patients=1)

    def between(event: Event) -> None:
        if event.kind is EventKind.ROUND and event.round == 1:
            withdraw(hospitals["alpha"].folder, "alpha-p2")

    nodes = [{**site.node, "site": name} for name, site in hospitals.items()]
    grid = InProcessGrid(_Inline("client.app:app"), nodes)
    run_federation(grid, PLAN, tmp_path / "run", on_event=between)
    entries = [json.loads(p.read_text()) for p in sorted((tmp_path / "run/journal").iterdir())]
    counts = [{name: of["counts"]["encoder"] for name, of in e["sites"].items()} for e in entries]
    assert counts == [{"alpha": 4, "beta": 3}, {"alpha": 3, "beta": 3}]
    assert [entry["refused"] for entry in entries] == [{}, {}]
