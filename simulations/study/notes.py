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
    """The notes of trainings, those of one that give the same advice as one.

    Args:
        found: Seed -> name of a training -> its notes: ``SITE: what was seen. What may help.``, or
            any other sentence.

    Returns:
        ``TRAINING: SITE, seed 1: what was seen; SITE, seeds 2 and 3: ... . What may help.``
    """
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for seed, trainings in found.items():
        for name, notes in trainings.items():
            for note in notes:
                seen, _, advice = note.removesuffix(".").partition(". ")
                groups.setdefault((name, advice), []).append((seed, seen))
    lines = []
    for (name, advice), pairs in groups.items():
        parts = [_with_seeds(seen, own, found) for seen, own in _seeds_by(pairs).items()]
        lines.append(f"{name}: {'; '.join(parts)}.{advice and f' {advice}.'}")
    return lines


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
