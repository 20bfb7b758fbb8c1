"""Notes of several seeds: once each, with the seeds that they are of."""

from simulations.study.notes import notes_over_seeds, training_notes

HELP = "More finetune.local_steps may help."


def test_a_note_of_all_seeds_stands_once_and_others_name_their_seeds() -> None:
    found = {4: ["Sites are institutions.", "b is left out."], 5: ["Sites are institutions."],
             6: ["Sites are institutions.", "b is left out.", "c has 2 patients."]}  # fmt: skip
    assert notes_over_seeds(found) == [
        "Sites are institutions.",
        "b is left out. (seeds 4 and 6)",
        "c has 2 patients. (seed 6)",
    ]


def test_trainings_with_one_advice_are_one_note_and_each_site_has_its_seeds() -> None:
    """Of two seeds fedadam is warned of a in both, by the same numbers, and of b by others each."""
    same, end = f"a: the loss ended at 0.50: too high. {HELP}", f": too high. {HELP}"
    found = {
        1: {"fedadam": [f"b: the loss ended at 0.41{end}", same], "fedavg": ["b: 3 clips."]},
        2: {"fedadam": [f"b: the loss ended at 0.42{end}", same], "fedavg": []},
    }
    assert training_notes(found) == [
        "fedadam: a: the loss ended at 0.50; b, seed 1: the loss ended at 0.41; b, seed 2: the "
        f"loss ended at 0.42: too high. {HELP}",
        "fedavg: b, seed 1: 3 clips.",
    ]


def test_of_one_seed_none_is_named() -> None:
    found = {3: {"ditto": [f"a: it. {HELP}", f"b: it. {HELP}", "The round is the sixth."]}}
    assert training_notes(found) == [
        f"ditto: a: it; b: it. {HELP}",
        "ditto: The round is the sixth.",
    ]
    assert notes_over_seeds({3: ["x.", "x."]}) == ["x."]
    assert training_notes({3: {"ditto": []}}) == []
