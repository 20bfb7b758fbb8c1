"""Which worker gets room on which GPU: ledger, locks and processes are real, GPUs are not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from echofm_core.contract import Action
from simulations.flower_private import NodeConfig, become_server, deliver, seal
from simulations.gpus import Packing
from simulations.workers import PackedMessage, _play

#: Of a GPU of these tests.
TOTAL = 100


@dataclass
class Numbers:
    """GPUs of 100 bytes, on which a training takes ``peak``; others than we leave ``free``."""

    gpus: int = 1
    peak: int = 40
    free: int = TOTAL

    def count(self) -> int:
        return self.gpus

    def memory(self, gpu: int) -> tuple[int, int]:
        return self.free, TOTAL

    def begin(self, gpu: int) -> None:
        pass

    def end(self, gpu: int) -> int:
        return self.peak


class Worker(threading.Thread):
    """Asks for room, and holds it until it is let go."""

    def __init__(self, folder: Path, gpus: Numbers, number: int, kind: str = "train") -> None:
        super().__init__(daemon=True)
        self.packing, self.kind = Packing(folder, gpus, worker=number), kind
        self.gpu = -1
        self._there, self._done = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.packing.room(self.kind) as gpu:
            self.gpu = gpu
            self._there.set()
            self._done.wait(60)

    def works(self) -> bool:
        """Whether it gets room; it has a good while."""
        return self._there.wait(20)

    def waits(self) -> bool:
        """Whether it has none a moment later."""
        return not self._there.wait(0.3)

    def let_go(self) -> None:
        self._done.set()
        self.join(20)
        assert not self.is_alive()


def measure(folder: Path, gpus: Numbers, kind: str = "train") -> None:
    """One training, alone."""
    with Packing(folder, gpus, worker=99).room(kind):
        pass


def assert_one_at_a_time(folder: Path, gpus: Numbers) -> None:
    """A second training waits for the first."""
    first = Worker(folder, gpus, 1)
    assert first.works()
    second = Worker(folder, gpus, 2)
    assert second.waits()
    first.let_go()
    assert second.works()
    second.let_go()


def test_what_is_not_measured_has_a_gpu_for_itself(tmp_path: Path) -> None:
    """Neither a second beside it, nor it beside one that is measured."""
    first, second = (Worker(tmp_path, Numbers(), number) for number in (1, 2))
    one, other = (first, second) if first.works() else (second, first)
    assert other.waits()
    one.let_go()
    assert other.works()
    unknown = Worker(tmp_path, Numbers(), 3, "another plan")
    assert unknown.waits()
    other.let_go()
    assert unknown.works()
    unknown.let_go()


def test_as_many_as_were_measured_to_fit(tmp_path: Path) -> None:
    """Of 100 bytes two take 40 each; a third waits for one of them."""
    measure(tmp_path, Numbers(peak=40))
    first, second = (Worker(tmp_path, Numbers(), number) for number in (1, 2))
    assert first.works() and second.works()
    third = Worker(tmp_path, Numbers(), 3)
    assert third.waits()
    first.let_go()
    assert third.works()
    second.let_go()
    third.let_go()


def test_the_most_that_one_took_counts(tmp_path: Path) -> None:
    """70 of 100 are held: no second one fits beside it."""
    for peak in (40, 70, 30):
        measure(tmp_path, Numbers(peak=peak))
    assert_one_at_a_time(tmp_path, Numbers())


def test_what_other_programs_have_is_not_free(tmp_path: Path) -> None:
    """Alone, a training begins all the same: waiting would not end."""
    measure(tmp_path, Numbers(peak=40))
    crowded = Numbers(peak=40, free=30)
    assert_one_at_a_time(tmp_path, crowded)


def test_workers_are_spread_and_keep_their_gpu(tmp_path: Path) -> None:
    two = Numbers(gpus=2)
    workers = []
    for number in (1, 2):
        workers.append(Worker(tmp_path, two, number))
        assert workers[-1].works(), "on its own GPU, though nothing is measured"
    assert [worker.gpu for worker in workers] == [0, 1]
    for worker in workers:
        worker.let_go()
    with workers[1].packing.room("train") as gpu:
        assert gpu == 1


def test_a_killed_worker_holds_no_room(tmp_path: Path) -> None:
    """A real process, killed while it trains what nobody has measured."""
    words = "from pathlib import Path\nimport time\n"
    words += "from tests.simulations.test_gpus import Numbers, Packing\n"
    words += f"with Packing(Path({str(tmp_path)!r}), Numbers()).room('train'):\n"
    words += "    print('in', flush=True)\n    time.sleep(60)\n"
    command = [sys.executable, "-c", words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "in\n"
        worker = Worker(tmp_path, Numbers(gpus=1), 1)
        assert worker.waits()
        process.send_signal(signal.SIGKILL)
    assert worker.works()
    worker.let_go()


def test_what_others_had_before_is_not_room_for_two(tmp_path: Path) -> None:
    """40 of 100 were taken before any of ours trained; the first of ours has not allocated yet."""
    crowded = Numbers(peak=40, free=60)
    measure(tmp_path, crowded)
    assert_one_at_a_time(tmp_path, crowded)


def test_who_asked_first_goes_first(tmp_path: Path) -> None:
    """One that needs the whole GPU is not overtaken by those that would fit beside the others."""
    measure(tmp_path, Numbers(peak=40))
    first = Worker(tmp_path, Numbers(), 1)
    assert first.works()
    large = Worker(tmp_path, Numbers(), 2, "another plan")
    assert large.waits()
    small = Worker(tmp_path, Numbers(), 3)
    assert small.waits()
    first.let_go()
    assert large.works() and small.waits()
    large.let_go()
    assert small.works()
    small.let_go()


def test_where_nothing_was_allocated_nothing_is_measured(tmp_path: Path) -> None:
    """A site that refuses an instruction says nothing of what a training takes."""
    measure(tmp_path, Numbers(peak=0))
    first = Worker(tmp_path, Numbers(), 1)
    assert first.works()
    second = Worker(tmp_path, Numbers(), 2)
    assert second.waits()
    first.let_go()
    second.let_go()


@pytest.mark.parametrize("step", ["begin", "end"])
def test_an_error_of_the_driver_gives_the_room_back(tmp_path: Path, step: str) -> None:
    def fail(gpu: int) -> int:
        raise RuntimeError("device-side assert")

    broken = Numbers()
    setattr(broken, step, fail)
    packing = Packing(tmp_path, broken, worker=1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="device-side"), packing.room("train"):
            pass
    worker = Worker(tmp_path, Numbers(), 2)
    assert worker.works()
    worker.let_go()


def test_an_error_in_training_gives_the_room_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Packing(tmp_path, Numbers(), worker=1).room("train"):
        raise RuntimeError
    assert json.loads((tmp_path / "gpus.json").read_text())["peaks"] == {"train": 40}
    worker = Worker(tmp_path, Numbers(), 2)
    assert worker.works()
    worker.let_go()


def played(folder: Path, action: Action, gpus: Numbers, **settings: object) -> str:
    """The device that a site sees when a worker plays it."""
    seen = list[str]()
    app = ClientApp()

    def note(message: Message, context: Context) -> Message:
        seen.append(str(context.node_config["device"]))
        return Message(RecordDict(), reply_to=message)

    app.query("describe")(note)
    app.train("finetune")(note)
    app.evaluate("site")(note)
    become_server()
    content = RecordDict({"config": ConfigRecord({"plan-hash": "0a"})})
    message = deliver(Message(content, 1, action.value, group_id="1"), "1")
    config: NodeConfig = {"device": "auto", "devices": 1, **settings}  # type: ignore[dict-item]
    _play(app, folder, Packing(folder, gpus), PackedMessage(seal(message), None, config))
    return seen[0]


def test_a_site_trains_on_the_gpu_of_its_worker(tmp_path: Path) -> None:
    for number, action in enumerate((Action.FINETUNE, Action.EVALUATE)):
        assert played(tmp_path, action, Numbers()) == "cuda:0"
        assert len(json.loads((tmp_path / "gpus.json").read_text())["peaks"]) == number + 1
    peaks = json.loads((tmp_path / "gpus.json").read_text())["peaks"]
    assert set(peaks) == {"train.finetune 0a", "evaluate.site 0a"}, "of each plan by itself"


@pytest.mark.parametrize(
    ("action", "gpus", "settings"),
    [
        pytest.param(Action.FINETUNE, 0, {}, id="no GPU"),
        pytest.param(Action.DESCRIBE, 2, {}, id="nothing is trained"),
        pytest.param(Action.FINETUNE, 2, {"device": "cpu"}, id="a processor is asked for"),
        pytest.param(Action.FINETUNE, 2, {"device": "cuda:1"}, id="one GPU is asked for"),
        pytest.param(Action.FINETUNE, 2, {"device": "cuda", "devices": 2}, id="a site takes two"),
    ],
)
def test_otherwise_the_device_is_what_the_plan_says(
    action: Action, gpus: int, settings: dict[str, object], tmp_path: Path
) -> None:
    expected = settings.get("device", "auto")
    assert played(tmp_path, action, Numbers(gpus=gpus), **settings) == expected
    assert not (tmp_path / "gpus.json").exists()
