"""Sites by scanner."""

import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.grouped import Grouped, commonest, slug


class VendorModel(Grouped):
    """The scanner (slug of manufacturer and model) that most of a patient's clips come from."""

    caveat = (
        "Sites are scanner models inside one archive: device shift, not institutional shift; "
        "MIMIC-IV-ECHO looks GE-only."
    )
    needs = "device names, as MIMIC-IV-ECHO and DICOM files have them"

    def column(self, config: ProtocolConfig) -> str:
        """Column of the manifest."""
        return "model"

    def groups(self, manifest: pd.DataFrame, key: pd.Series, config: ProtocolConfig) -> pd.Series:
        """The commonest device of a patient's clips."""
        device = (manifest["vendor"].fillna("") + " " + manifest["model"].fillna("")).str.strip()
        # A clip that does not say, such as a video, counts for no scanner.
        return commonest(device.mask(device == ""), key).map(slug, na_action="ignore")
