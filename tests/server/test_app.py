"""What the ServerApp looks at before it asks any site."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from echofm_core.plan.document import Plan
from echofm_core.run_claim import held
from echofm_core.runtime.errors import ResumeError
from server.app import app


def test_a_folder_in_which_somebody_else_trains_is_refused(tmp_path: Path) -> None:
    """A simulation, or an institution by itself, holds its folder; no site is asked anything."""
    (tmp_path / "plan.toml").write_text(Plan().to_toml())
    config = {"plan": str(tmp_path / "plan.toml"), "run-folder": str(tmp_path / "run")}
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    with held(tmp_path / "run"), pytest.raises(ResumeError, match="another process is training"):
        app(cast(Grid, None), context)
    assert not list((tmp_path / "run").iterdir())
