from __future__ import annotations

import numpy as np

from echofm_core.plan.federation import Aggregation
from tests.server.aggregation.test_adaptive import START, adaptive, moments, moved


def test_two_steps_by_hand() -> None:
    """From m = 0 and v = tau^2 = 9, with beta1 = 1/2 and rate 12; beta2 plays no part.

    A mean change of 4: m = 2, v = 9 + 16 = 25, step 12 * 2 / (5 + 3) = 3.
    Then one of 12: m = (2 + 12)/2 = 7, v = 25 + 144 = 169, step 12 * 7 / (13 + 3) = 5.25.
    """
    rule = adaptive(Aggregation.FEDADAGRAD, tau=3.0)
    first = moved(rule, START, 4.0)
    np.testing.assert_allclose(first["encoder.w"], [1 + 3], rtol=1e-6)
    second = moved(rule, first, 12.0)
    np.testing.assert_allclose(second["encoder.w"], [4 + 5.25], rtol=1e-6)
    np.testing.assert_allclose(moments(rule), [[7.0], [169.0]])
