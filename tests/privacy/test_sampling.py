import numpy as np

from echofm_core.privacy.mechanism import PatientSampler

#: Patient 0 has eight clips, patients 1 to 4 one each.
CLIPS = np.array([10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23])
PATIENTS = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])


def drawn(rate: float, steps: int, seed: int = 0) -> list[np.ndarray]:
    return list(PatientSampler(CLIPS, PATIENTS).draw(rate, steps, np.random.default_rng(seed)))


def test_patients_are_drawn_and_not_clips() -> None:
    """Of 4000 steps at 0.3 each patient is in 1200 +- 5 standard deviations (29), one clip each.

    Were clips drawn, patient 0 would be in 94 % of the steps.
    """
    of = dict(zip(CLIPS.tolist(), PATIENTS.tolist(), strict=True))
    steps = [[of[row] for row in rows.tolist()] for rows in drawn(0.3, 4000)]
    assert all(len(set(step)) == len(step) for step in steps)
    counts = np.bincount(np.concatenate(steps).astype(int))
    assert (np.abs(counts - 1200) < 5 * 29).all()


def test_draws_are_independent_so_sizes_are_binomial() -> None:
    """Five patients at 0.3: variance 5 * 0.3 * 0.7 = 1.05, and 0.7^5 = 17 % of steps are empty."""
    sizes = np.array([len(rows) for rows in drawn(0.3, 4000)])
    assert abs(sizes.var() - 1.05) < 0.15
    assert abs((sizes == 0).mean() - 0.168) < 0.03


def test_every_clip_of_a_patient_is_seen() -> None:
    seen = set(np.concatenate(drawn(0.5, 300)).tolist())
    assert seen == set(CLIPS.tolist())


def test_rate_one_takes_all_and_the_stream_repeats() -> None:
    assert all(len(rows) == 5 for rows in drawn(1.0, 3))
    for first, second in zip(drawn(0.4, 20), drawn(0.4, 20), strict=True):
        np.testing.assert_array_equal(first, second)


def test_clips_need_not_be_sorted_by_patient() -> None:
    sampler = PatientSampler(np.array([5, 6, 7, 8]), np.array([3, 1, 3, 1]))
    assert [part.tolist() for part in sampler.clips_of] == [[6, 8], [5, 7]]
