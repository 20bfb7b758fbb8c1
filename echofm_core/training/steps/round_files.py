"""What a site carries from round to round: a file a round, on its own disk."""

from collections.abc import Collection
from pathlib import Path

from echofm_core.runtime.files import remove


class RoundFiles:
    """Safetensors files by round number.

    A round starts from the file of an *earlier* round, so that a round that is done again after a
    crash starts as it did the first time.

    Args:
        folder: Where they are.
        stem: What their names begin with, e.g. a phase: ``finetune-00002.safetensors``.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.stem = stem

    def path(self, number: int) -> Path:
        """The file of a round, whether it is there or not."""
        return self.folder / f"{self.stem}-{number:05d}.safetensors"

    def before(self, number: int) -> int:
        """The newest round before this one that has a file; 0: none."""
        return max((found for found in self._numbers() if found < number), default=0)

    def keep_only(self, numbers: Collection[int]) -> None:
        """Remove the files of all other rounds, and what a kill in the middle of writing left."""
        for number in self._numbers() - set(numbers):
            self.path(number).unlink(missing_ok=True)
        for torn in self.folder.glob(f".{self.stem}-*"):
            remove(torn)

    def _numbers(self) -> set[int]:
        paths = self.folder.glob(f"{self.stem}-*.safetensors")
        return {int(path.stem.rpartition("-")[2]) for path in paths}
