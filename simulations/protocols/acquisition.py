"""Sites by how the pictures were taken: bands of frame rate, depth, frequency or gain."""

import numpy as np
import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.grouped import Grouped


class Acquisition(Grouped):
    """The band that the median of a patient's clips lies in: ``fps-band-1`` (lowest) and so on.

    Bands are cut at ``protocol.edges``; without any, into three of about as many patients each. A
    value that is an edge lies above it.
    """

    caveat = (
        "Sites are bands of one setting of the scanner: acquisition shift inside the data sets, "
        "not institutional shift. A band may be one data set, device or kind of patient."
    )
    needs = "the setting that protocol.acquisition names"

    def column(self, config: ProtocolConfig) -> str:
        """Column of the manifest."""
        return config.acquisition.value

    def groups(self, manifest: pd.DataFrame, key: pd.Series, config: ProtocolConfig) -> pd.Series:
        """The band of a patient's median."""
        column = self.column(config)
        medians = manifest[column].astype("Float64").groupby(key).median().dropna()
        values = medians.to_numpy(dtype=float)
        edges = config.edges or np.quantile(values, (1 / 3, 2 / 3), method="nearest")
        bands = np.digitize(values, np.unique(np.asarray(edges, dtype=float)))
        what = column.split("_")[0]
        return key.map(
            pd.Series([f"{what}-band-{band + 1}" for band in bands], index=medians.index)
        )
