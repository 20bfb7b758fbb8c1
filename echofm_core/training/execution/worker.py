"""One process of a shared round: ``python -m echofm_core.training.execution.worker FOLDER``.

Torch's elastic launcher starts it and says in the environment which rank it is.
"""

import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed import FileStore  # type: ignore[attr-defined]

from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.signals import SIGNALS
from echofm_core.training.execution.job_folder import MEETING, JobFolder, Terms
from echofm_core.training.execution.ranks import LOST_PEER, LostPeerError, Ranks
from echofm_core.training.objectives.phases import own_round

#: How long a process waits for the others, e.g. while one of them reads from a slow disk.
PATIENCE = timedelta(minutes=10)


def main(path: Path) -> int:
    """Do this process's part of the round; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the launcher's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # by which it ends us
    folder, rank = JobFolder(path), int(os.environ["RANK"])
    terms = folder.terms()
    threading.Thread(target=_end_with_parent, args=(terms.parent, path), daemon=True).start()
    try:
        ranks = join(folder, terms, rank)
        model, clips, plan, context = folder.read_job(ranks)
        report = own_round(model, clips, plan, context)
        if ranks.first:
            folder.write_result(model, report)
        dist.destroy_process_group()
    except EchoFMError as error:
        folder.write_error(rank, error)
        return error.exit_code
    except LostPeerError:
        return LOST_PEER
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def join(folder: JobFolder, terms: Terms, rank: int) -> Ranks:
    """Meet the other processes.

    Raises:
        LostPeerError: They do not come.
    """
    torch.set_num_threads(terms.threads)
    gpu = terms.device == "cuda"
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if loopback := {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}:
        os.environ |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), loopback.pop())
    try:
        dist.init_process_group(
            "nccl" if gpu else "gloo",
            store=FileStore(str(folder.path / MEETING), terms.world),
            rank=rank,
            world_size=terms.world,
            timeout=PATIENCE,
        )
    except RuntimeError as error:
        raise LostPeerError(str(error).partition("\n")[0]) from error
    return Ranks(rank=rank, world=terms.world, device=device)


def _end_with_parent(parent: int, folder: Path) -> None:
    """End soon after the parent, however it ended, and leave nothing of a site's behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(LOST_PEER)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of destructors: those of a process group wait for peers that may be gone.
    os._exit(code)
