"""What a reader of a study must know, of all seeds together: equal words once, with their seeds."""

from collections.abc import Iterable, Mapping, Sequence

from echofm_core.runtime.text import listed


def notes_over_seeds(found: Mapping[int, Sequence[str]]) -> list[str]:
    """Every note once, in the order of the seeds; one that is not of all seeds names its own.

    Args:
        found: Seed -> its notes, each a sentence or more.
    """
    seeds = _seeds_by((seed, note) for seed, notes in found.items() for note in notes)
    return [f"{note}{_named(own, found, ' (', ')')}" for note, own in seeds.items()]


def training_notes(found: Mapping[int, Mapping[str, Sequence[str]]]) -> list[str]:
    """The notes of trainings, those of one training that end alike as one.

    Args:
        found: Seed -> name of a training -> its notes: ``SITE: what was seen: what it means. What
            may help.``, or any other sentence.

    Returns:
        ``TRAINING: SITE, seed 1: what was seen; SITE, seeds 2 and 3: ...: what it means. What may
        help.``
    """
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for seed, trainings in found.items():
        for name, notes in trainings.items():
            for note in notes:
                seen, end = _parted(note)
                groups.setdefault((name, end), []).append((seed, seen))
    lines = []
    for (name, end), pairs in groups.items():
        seeds = sorted(_seeds_by(pairs).items(), key=lambda item: item[0].partition(": ")[0])
        lines.append(f"{name}: {'; '.join(_with_seeds(*item, found) for item in seeds)}{end}")
    return lines


def _parted(note: str) -> tuple[str, str]:
    """A site with what was seen there, and all behind it."""
    sentence, dot, advice = note.partition(". ")
    if not dot:
        sentence, dot = note.removesuffix("."), "."
    seen, colon, meaning = sentence.rpartition(": ")
    if ": " not in seen:  # one colon, behind the site
        seen, colon, meaning = sentence, "", ""
    return seen, f"{colon}{meaning}{dot}{advice}"


def _seeds_by(pairs: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    """Text -> the seeds that have it."""
    seeds: dict[str, list[int]] = {}
    for seed, text in pairs:
        if seed not in seeds.setdefault(text, []):
            seeds[text].append(seed)
    return seeds


def _with_seeds(seen: str, own: Sequence[int], every: Mapping[int, object]) -> str:
    """The seeds behind the site, or at the end."""
    site, colon, what = seen.partition(": ")
    if colon:
        return f"{site}{_named(own, every, ', ')}: {what}"
    return f"{seen}{_named(own, every, ' (', ')')}"


def _named(own: Sequence[int], every: Mapping[int, object], before: str, behind: str = "") -> str:
    """``seeds 1 and 3``; nothing where it is all of them."""
    if len(own) == len(every):
        return ""
    return f"{before}{'seed' if len(own) == 1 else 'seeds'} {listed(map(str, own))}{behind}"
