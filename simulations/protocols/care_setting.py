"""Sites by where the patient was."""

import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.grouped import Grouped, commonest, slug


class CareSetting(Grouped):
    """The care setting of most of a patient's clips, as a hospital's own table names it."""

    caveat = (
        "Sites are care settings (wards, outpatients) as the hospital's own table names them: "
        "shift of who is examined and how well they can be, inside an institution."
    )
    needs = "a care setting, which a hospital's own table gives by echofm.toml"

    def column(self, config: ProtocolConfig) -> str:
        """Column of the manifest."""
        return "care_setting"

    def groups(self, manifest: pd.DataFrame, key: pd.Series, config: ProtocolConfig) -> pd.Series:
        """The commonest setting of a patient's clips."""
        return commonest(manifest["care_setting"], key).map(
            lambda setting: f"care-{slug(setting)[:59]}", na_action="ignore"
        )
