"""What a site keeps of a run on its own disk: own and frozen weights, predictions."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights
from echofm_core.runtime import array_files as files
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, FederationError, PolicyError
from echofm_core.runtime.file_lock import file_lock
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import name_fault
from echofm_core.training.steps.kept import RoundFiles

#: Files of a run: locked while a message of it is answered; how many tests of a model were made.
IN_USE, EVALUATIONS = ".in-use.lock", "evaluations.txt"


def predictions_file(model: str = "") -> str:
    """File of a run's state with the predictions of a model beside the shipped one, or of that."""
    return f"predictions{model and '-'}{model}.parquet"


def validation_file(model: str = "") -> str:
    """Likewise of validation patients."""
    return predictions_file(f"validation{model and '-'}{model}")


class Own(StrEnum):
    """Weights that stay at a site: folders of a run, with a file a round.

    ``decoder``: of pre-training. ``local``: what the plan leaves at the sites in fine-tuning.
    ``personal``: a whole model of the site's own.
    """

    DECODER = "decoder"
    LOCAL = "local"
    PERSONAL = "personal"


class SiteState:
    """The folder of one run in a site's state folder.

    Raises:
        FederationError: The run name, which the server gives, is not a plain name.
    """

    def __init__(self, state: Path, run: str) -> None:
        if name_fault(run, longest=128):
            raise FederationError(
                "the server's run name is not a plain name of letters, digits, dot, dash and "
                "underscore; give the plan another name."
            )
        self.root, self.folder = state, state / run
        self.folder.mkdir(parents=True, exist_ok=True)
        self._frozen = self.folder / "frozen.safetensors"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Be the only one who works on this run's files for a block; waits until it is."""
        with file_lock(self.folder / IN_USE, wait=True):
            yield

    def count_evaluation(self, most: int) -> None:
        """Count one test of a model in this run, before it is made.

        Raises:
            PolicyError: The site's policy allows no more of them.
        """
        path = self.folder / EVALUATIONS
        try:
            done = int(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            done = 0
        except ValueError:
            raise PolicyError(
                "the count of this run's tests at the site is damaged, so no more are made; the "
                "site mends or removes evaluations.txt in its state folder."
            ) from None
        if done >= most:
            raise PolicyError(
                f"this site's policy has max_evaluations = {most}, and {done} tests of this run "
                "were made; agree on more with the site."
            )
        write_whole(path, str(done + 1).encode())

    def own(self, kind: Own, before_round: int, first: int = 1) -> dict[str, NDArray[np.floating]]:
        """The site's own weights from the newest earlier round; empty where there are none.

        Those of rounds before ``first`` are of another model.

        Raises:
            CheckpointError: The file is damaged.
        """
        rounds = self._rounds(kind, first)
        earlier = rounds.before(before_round)
        return files.load(rounds.path(earlier)) if earlier else {}

    def keep_own(self, kind: Own, weights: Weights, round_: int, first: int = 1) -> None:
        """Keep those of a round.

        Files stay of this round, of the one that it started from, and of the one before that, from
        which a server goes on that lost its last checkpoint.
        """
        rounds = self._rounds(kind, first)
        files.save(weights, rounds.path(round_), {})
        before = rounds.before(round_)
        rounds.keep_only((round_, before, rounds.before(before)))

    def _rounds(self, kind: Own, first: int) -> RoundFiles:
        return RoundFiles(self.folder / kind, "round", first)

    def frozen(self, given: Weights, name: str) -> Weights:
        """The weights that a phase leaves as they are: those just given, else those kept.

        Args:
            given: From the server, which are then kept; empty where it relies on that.
            name: Their digest; "" where nothing is frozen.

        Raises:
            FederationError: They are not here, or are others than the server means.
        """
        if not name:
            return {}
        try:
            weights = given or files.load(self._frozen)
        except CheckpointError:
            weights = {}
        if digest(weights) != name:
            raise FederationError(
                f"this site does not hold the frozen weights {name[:12]} that the server means; "
                "they are sent again with the next round."
            )
        if given:
            files.save(given, self._frozen, {}, durable=False)  # read with its digest
        return weights

    def forget_frozen(self) -> None:
        """The phase is over."""
        self._frozen.unlink(missing_ok=True)
