from __future__ import annotations

import numpy as np

from echofm_core.plan.federation import Aggregation
from tests.server.aggregation.test_adaptive import START, adaptive, moments, moved


def test_three_steps_by_hand() -> None:
    """From m = 0 and v = tau^2 = 4, with beta1 = beta2 = 1/2 and rate 12.

    A mean change of 8: m = 4, v = 4 + 64/2 = 36, step 12 * 4 / (6 + 2) = 6. Then one of 6, whose
    square is v: m = 5, v stays 36, step 12 * 5 / 8 = 7.5. Then one of 2, whose square is less:
    m = 3.5, v = 36 - 4/2 = 34 (FedAdam's would be 20).
    """
    rule = adaptive(Aggregation.FEDYOGI, tau=2.0)
    first = moved(rule, START, 8.0)
    np.testing.assert_allclose(first["encoder.w"], [1 + 6], rtol=1e-6)
    second = moved(rule, first, 6.0)
    np.testing.assert_allclose(second["encoder.w"], [7 + 7.5], rtol=1e-6)
    third = moved(rule, second, 2.0)
    np.testing.assert_allclose(third["encoder.w"], [14.5 + 42 / (34**0.5 + 2)], rtol=1e-6)
    np.testing.assert_allclose(moments(rule), [[3.5], [34.0]])
