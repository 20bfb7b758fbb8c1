from __future__ import annotations

import numpy as np

from echofm_core.plan.federation import Aggregation
from tests.server.aggregation.test_adaptive import START, adaptive, moments, moved


def test_two_steps_by_hand() -> None:
    """From m = 0 and v = tau^2 = 1, with beta1 = beta2 = 1/2 and rate 12.

    A mean change of 7: m = 3.5, v = (1 + 49)/2 = 25, step 12 * 3.5 / (5 + 1) = 7.
    Then one of 35: m = (3.5 + 35)/2 = 19.25, v = (25 + 1225)/2 = 625, step 12 * 19.25 / 26.
    """
    rule = adaptive(Aggregation.FEDADAM)
    first = moved(rule, START, 7.0)
    np.testing.assert_allclose(first["encoder.w"], [1 + 7], rtol=1e-6)
    second = moved(rule, first, 35.0)
    np.testing.assert_allclose(second["encoder.w"], [8 + 12 * 19.25 / 26], rtol=1e-6)
    np.testing.assert_allclose(moments(rule), [[19.25], [625.0]])
