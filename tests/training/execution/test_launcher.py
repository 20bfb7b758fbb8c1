import logging
import os
import signal
from collections.abc import Iterator

import pytest

from echofm_core.training.execution.launch import (
    handled_signals,
    quiet_launcher,
    restored_handlers,
    without_store_server,
)

SWITCH = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


@pytest.fixture
def hangup() -> Iterator[None]:
    """As under nohup: one signal is ignored. A shell's background jobs ignore others too."""
    wanted = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), signal.SIG_DFL)
    wanted[signal.SIGHUP] = signal.SIG_IGN
    before = {name: signal.signal(name, handler) for name, handler in wanted.items()}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


def test_what_is_ignored_stays_ignored(hangup: None) -> None:
    assert handled_signals() == {"signals_to_handle": "SIGTERM,SIGINT,SIGQUIT"}


def test_handlers_come_back(hangup: None) -> None:
    """Whatever the launcher sets, an error or not."""
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    with pytest.raises(ValueError, match="of the round"), restored_handlers():
        for name in (signal.SIGHUP, *before):
            signal.signal(name, lambda *_: None)
        raise ValueError("of the round")
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert {name: signal.getsignal(name) for name in before} == before


@pytest.mark.parametrize("value", [None, "0"])
def test_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(SWITCH, value)
    with without_store_server():
        assert os.environ[SWITCH] == "1"
    assert os.environ.get(SWITCH) == value


def test_the_launcher_is_quiet_launcher_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("torch.distributed.elastic.agent")
    with quiet_launcher():
        log.error("unheard")
    log.error("heard")
    assert [record.message for record in caplog.records] == ["heard"]
