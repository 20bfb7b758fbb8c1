"""Does the pieces of the learning benchmark, several at a time; none that is finished again."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType

import torch

from benchmarks.learning_clock import COST, clock
from benchmarks.learning_data import write_patients
from benchmarks.learning_pieces import Patients, Piece, Pretraining, Tuning
from benchmarks.learning_places import RESULT, finished, key, place_of
from benchmarks.learning_recipe import Recipe
from benchmarks.learning_scores import scores_of
from benchmarks.learning_train import train
from echofm_core.runtime.console import progress
from echofm_core.runtime.files import keep_only, write_whole

#: What a finished training keeps: moments of each site are several models.
_KEPT = {"model", "plan.toml", "metrics.parquet", COST, RESULT}


def do_all(pieces: Sequence[Piece], recipe: Recipe, folder: Path, workers: int) -> None:
    """Do what is left, the first that can be done first; the first that fails ends the others.

    Args:
        pieces: Each behind its needs.
        recipe: What they are made by.
        folder: Has a folder for each. Called again after a kill, it goes on.
        workers: Processes, of one thread each.
    """
    done = {piece for piece in pieces if finished(piece, recipe, folder)}
    left = [piece for piece in pieces if piece not in done]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_alone)
    with pool, progress("learning", len(pieces)) as meter:
        meter.advance(len(done), note="found done")
        running: dict[Future[str], Piece] = {}
        try:
            while left or running:
                ready = (piece for piece in left if done.issuperset(piece.needs(recipe)))
                for piece in list(islice(ready, workers - len(running))):
                    left.remove(piece)
                    running[pool.submit(do, piece, recipe, folder)] = piece
                for future in wait_for(running, return_when=FIRST_COMPLETED).done:
                    meter.advance(note=future.result())
                    done.add(running.pop(future))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def do(piece: Piece, recipe: Recipe, folder: Path) -> str:
    """Do one piece whose needs are done; returns its name."""
    place = place_of(piece, recipe, folder)
    rows: list[dict[str, object]] = []
    with clock(place) as tick:
        if isinstance(piece, Patients):
            write_patients(piece, recipe, place)
        elif isinstance(piece, Pretraining | Tuning):
            train(piece, recipe, folder, tick)
        else:
            rows = scores_of(piece, recipe, folder)
    found = {"key": key(piece, recipe), "rows": rows}
    write_whole(place / RESULT, json.dumps(found, indent=1).encode())
    if isinstance(piece, Pretraining | Tuning):
        keep_only(place, _KEPT)
    return f"draw {piece.draw} {piece.name}"


def _alone() -> None:
    """One thread, and no longer life than the parent's, however that ends."""
    import cv2

    # Processes that decode would load the benchmark, and PyTorch with it, for each hospital anew.
    sys.modules["__main__"] = ModuleType("__main__")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
