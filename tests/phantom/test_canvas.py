"""The drawing board: what is drawn when."""

import numpy as np

from echofm_core.phantom.canvas import Canvas, Tissue, corners, ellipse


def test_a_stroke_is_drawn_at_its_moments_alone() -> None:
    canvas = Canvas(3)
    line = corners((-1.0, 5.0), (1.0, 5.0))
    canvas.stroke(line, Tissue.VALVE, 0.2, at=np.array([False, True, False]))
    drawn = [bool((canvas.board(moment) == Tissue.VALVE).any()) for moment in range(3)]
    assert drawn == [False, True, False]


def test_what_stands_still_and_what_moves_meet_in_one_drawing() -> None:
    """A disc of 2 cm around (0, 5), and over it one of 1 cm that goes from there to (6, 5)."""
    canvas = Canvas(2)
    canvas.fill(ellipse(0.0, 5.0, 2.0, 2.0), Tissue.MUSCLE)
    canvas.dot(np.array([[0.0], [6.0]]), 5.0, 1.0, Tissue.BLOOD)
    row, middle, right = 102, 108, 180  # (v + 3.5) * 12; (u + 9) * 12
    assert [canvas.board(moment)[row, middle] for moment in (0, 1)] == [Tissue.BLOOD, Tissue.MUSCLE]
    assert [canvas.board(moment)[row, right] for moment in (0, 1)] == [Tissue.FAR, Tissue.BLOOD]
