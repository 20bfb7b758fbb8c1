"""Sites by image quality."""

import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.grouped import Grouped

_WORST_FIRST = ("Poor", "Medium", "Good")


class Quality(Grouped):
    """A patient's worst image quality (CAMUS: Good, Medium, Poor): ``quality-good`` and so on."""

    caveat = (
        "Sites are image-quality classes of one data set. Quality is confounded with EF "
        "(CAMUS means: 53.6, 51.0, 45.7 from good to poor)."
    )
    needs = "image quality, as CAMUS names it"

    def column(self, config: ProtocolConfig) -> str:
        """Column of the manifest."""
        return "quality"

    def groups(self, manifest: pd.DataFrame, key: pd.Series, config: ProtocolConfig) -> pd.Series:
        """The worst of a patient's clips; capitals do not matter, a hospital writes its own."""
        order = {name.lower(): rank for rank, name in enumerate(_WORST_FIRST)}
        ranks = manifest["quality"].str.strip().str.lower().map(order).astype("Float64")
        names = {float(rank): f"quality-{name}" for name, rank in order.items()}
        return ranks.groupby(key).transform("min").map(names)
