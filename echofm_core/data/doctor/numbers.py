"""The numbers of a diagnosis: what the terminal, the page and the JSON file all say."""

from collections.abc import Mapping
from dataclasses import dataclass

from echofm_core.data.findings import Severity
from echofm_core.data.reasons import Reason
from echofm_core.runtime.text import many

SYNTHETIC = "SYNTHETIC: phantoms are among these data; nothing here is about patients."


@dataclass(frozen=True, slots=True)
class Count:
    """How many clips have a value; None stands for not known."""

    value: str | None
    clips: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How a quantity is distributed over clips; None where it is not defined.

    Attributes:
        n: Clips with a value.
        missing: Clips without.
        low, p5, median, mean, p95, high: Smallest, 5th percentile, ..., largest.
        sd: Sample standard deviation; None under two values.
    """

    n: int
    missing: int
    low: float | None = None
    p5: float | None = None
    median: float | None = None
    mean: float | None = None
    sd: float | None = None
    p95: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One data set.

    Attributes:
        public: Its ids are public pseudonyms; else files appear under hashed names.
        clips, patients, studies: That can be used.
        decoded: Clips that were decoded; ``grey`` and ``sector`` are theirs alone.
        quarantined, repaired, noted: Findings of each severity.
        reduced_ef: Share of the clips with an EF whose EF is under 50 %; None without EF.
        counts: ``view``, ``split``, ``label``, ``as_grade``, ``as_class`` (of the grade, or where
            that is unknown), ``frame_rate``, ``scanner``, ``sex`` and ``quality``: clips by value.
        spreads: ``ef`` (%), ``edv``, ``esv`` (ml), ``age`` (years), ``fps`` (Hz), ``frames``,
            ``seconds``, ``height``, ``width`` (pixels), ``grey`` (mean level in the sector, 0 to
            255), ``sector`` (share of the frame).
    """

    dataset: str
    public: bool
    clips: int
    patients: int
    studies: int
    decoded: int
    quarantined: int
    repaired: int
    noted: int
    reduced_ef: float | None
    counts: Mapping[str, tuple[Count, ...]]
    spreads: Mapping[str, Spread]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Findings of one kind in one data set: the first of them, and each reason."""

    dataset: str
    kind: str
    severity: str
    count: int
    item: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """Patient ids that two places hold; a split of None is that of clips without one."""

    dataset: str
    split: str | None
    other_dataset: str
    other_split: str | None
    patients: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All of it.

    Attributes:
        parts: Data sets by name, those of which nothing can be used too.
        kinds: Worst severity first, then the most frequent.
        shared: Patients in several splits, of one data set or of two.
    """

    synthetic: bool
    parts: tuple[Part, ...]
    kinds: tuple[Kind, ...]
    shared: tuple[Shared, ...]

    @property
    def clips(self) -> int:
        """Clips that can be used."""
        return sum(part.clips for part in self.parts)

    @property
    def decoded(self) -> int:
        """Clips that were decoded."""
        return sum(part.decoded for part in self.parts)

    def found(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(kind.count for kind in self.kinds if kind.severity == severity.value)

    @property
    def coverage(self) -> str:
        """How many clips were decoded, in words."""
        return f"Decoded {self.decoded:,} of {many(self.clips, 'clip')}."

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        can = f"{many(self.clips, 'clip')} can be used"
        if not self.kinds:
            return f"All {can}: nothing was wrong." if self.clips else "There are no clips."
        quarantined, repaired, noted = map(self.found, Severity)
        kinds = many(len({kind.kind for kind in self.kinds}), "kind")
        return (
            f"{can}; {many(quarantined, 'file or row is', 'files or rows are')} quarantined, "
            f"{repaired:,} repaired, {noted:,} noted: {kinds} of trouble."
        )
