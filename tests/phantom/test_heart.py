"""The heart's labels, derived from its shape."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.phantom.heart import END_SYSTOLE, Heart, draw_heart

HEART = Heart(edv=120.0, ef=60.0, rate=60.0)


def test_volumes_at_end_diastole_and_end_systole_are_the_labels() -> None:
    """EF 60 % of 120 ml leaves 48 ml: 120 * (1 - 0.6)."""
    assert HEART.esv == pytest.approx(48.0)
    assert HEART.volume(np.array([0.0, END_SYSTOLE])) == pytest.approx([120.0, 48.0])


@given(st.floats(0, 0.999), st.floats(15, 75), st.floats(60, 300))
def test_area_length_formula_gives_the_volume_of_the_drawn_shape(
    phase: float, ef: float, edv: float
) -> None:
    """V = 8 A^2 / (3 pi L) with A = pi a L / 2, the area of the half-ellipse with axes a and L."""
    heart = Heart(edv=edv, ef=ef, rate=70)
    volume = heart.volume(np.asarray(phase))
    radius, length = heart.radius(volume), heart.length(volume)
    area = math.pi * radius * length / 2
    assert 8 * area**2 / (3 * math.pi * length) == pytest.approx(float(volume), rel=1e-9)


@given(st.floats(0, 0.999))
def test_filling_stays_within_its_bounds_and_is_periodic(phase: float) -> None:
    filling = float(HEART.filling(np.asarray(phase)))
    assert -1e-9 <= filling <= 1 + 1e-9
    ends = HEART.filling(np.array([0.0, 1.0 - 1e-9]))
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)


def test_the_wall_thickens_and_the_valve_opens_in_systole_only() -> None:
    volumes = HEART.volume(np.array([0.0, END_SYSTOLE]))
    thick = HEART.thickness(volumes)
    assert thick[1] > 1.15 * thick[0]
    opening = HEART.valve_opening(np.array([END_SYSTOLE / 2, 0.5, 0.9]))
    assert opening[0] == pytest.approx(1.0) and not opening[1:].any()


def test_stenosis_narrows_the_valve_grade_by_grade() -> None:
    middle = np.array([END_SYSTOLE / 2])
    openings = [
        float(Heart(edv=100, ef=60, rate=60, as_grade=grade).valve_opening(middle)[0])
        for grade in range(5)
    ]
    assert openings == sorted(openings, reverse=True) and len(set(openings)) == 5


def test_drawn_hearts_follow_the_prior() -> None:
    """Mean of 800 draws of N(56, 13) within four standard errors, 4 * 13 / sqrt(800) = 1.8."""
    rng = np.random.default_rng(0)
    efs = [draw_heart(rng, 56, 13).ef for _ in range(800)]
    assert np.mean(efs) == pytest.approx(56, abs=1.8)
