"""Apply a plan's protocol to a manifest: manifests in, sites and patient-disjoint splits out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import pandas as pd

from echofm_core.data.manifest import Split, validate
from echofm_core.data.patients import patient_keys
from echofm_core.data.prepare import check_names
from echofm_core.data.splits import fill_splits
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
from echofm_core.runtime.errors import EmptySiteError, PlanError
from echofm_core.runtime.text import did_you_mean, many
from simulations.protocols.acquisition import Acquisition
from simulations.protocols.care_setting import CareSetting
from simulations.protocols.dirichlet import Dirichlet
from simulations.protocols.fedcvd import Fedcvd
from simulations.protocols.iid import Iid
from simulations.protocols.institution import Institution
from simulations.protocols.quality import Quality
from simulations.protocols.quantity import Quantity
from simulations.protocols.vendor_model import VendorModel
from simulations.protocols.view_skew import ViewSkew


class SiteRule(Protocol):
    """Says at which site each patient is; splitting is the same for all rules.

    Rules see whole patients: :mod:`simulations.protocols.assign` refuses one that tears a patient
    apart.
    """

    caveat: str
    """What a reader of the results must know; printed under every table."""
    synthetic: bool
    """True where the sites are not institutions or devices, but made by us."""

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """Site name of every row (string, no nulls), index as in ``manifest``."""
        ...


RULES: Mapping[ProtocolName, SiteRule] = MappingProxyType(
    {
        ProtocolName.INSTITUTION: Institution(),
        ProtocolName.QUALITY: Quality(),
        ProtocolName.VENDOR_MODEL: VendorModel(),
        ProtocolName.ACQUISITION: Acquisition(),
        ProtocolName.CARE_SETTING: CareSetting(),
        ProtocolName.FEDCVD: Fedcvd(),
        ProtocolName.DIRICHLET: Dirichlet(),
        ProtocolName.VIEW_SKEW: ViewSkew(),
        ProtocolName.QUANTITY: Quantity(),
        ProtocolName.IID: Iid(),
    }
)


def assign_sites(
    manifest: pd.DataFrame, config: ProtocolConfig, seed: int, *, few_shot: bool = False
) -> pd.DataFrame:
    """Manifest with ``site`` and ``split`` filled for every row, patients disjoint in both.

    The splits of other sites do not depend on an unseen one. All its patients are test patients
    but where some of them may be of use, with ``unlabelled_target`` or ``few_shot`` models: then
    it is split as others are, and its validation patients are training patients.

    Raises:
        DataRootError: A data set the plan names was not found.
        EmptySiteError: A site has fewer than ``min_patients`` patients, or no training patient, or
            the data lack what the rule goes by.
        ManifestError: A rule tore a patient apart.
        PlanError: There is no site of an unseen one's name, or no other site.
    """
    check_names(config.datasets, set(manifest["dataset"].unique()))
    if config.datasets:
        manifest = manifest[manifest["dataset"].isin(config.datasets)]
    manifest = manifest.reset_index(drop=True).copy()
    manifest["site"] = RULES[config.name].site_of(manifest, config, seed).astype("string")
    _check_unseen(set(manifest["site"]), config)
    there = manifest["site"].isin(config.unseen)
    found = [fill_splits(manifest[~there], config, seed)["split"]]
    if few_shot or config.unlabelled_target:
        own = fill_splits(manifest[there], config, seed)["split"]
        found.append(own.replace(Split.VALIDATION.value, Split.TRAIN.value))
    split = pd.concat(found).astype("string")
    manifest["split"] = split.reindex(manifest.index, fill_value=Split.TEST.value)
    _check_sizes(manifest, config)
    return validate(manifest, f"protocol {config.name.value}")


def _check_unseen(sites: set[str], config: ProtocolConfig) -> None:
    there = f"the protocol {config.name.value} makes {', '.join(sorted(sites))} of these data"
    for name in config.unseen:
        if name not in sites:
            raise PlanError(
                f"protocol.unseen names {name!r}{did_you_mean(name, sites)}; {there}: name one of "
                "these, or add the data of that site."
            )
    if sites <= set(config.unseen):
        raise PlanError(f"protocol.unseen leaves no site to train on; {there}: take one out.")


def _check_sizes(manifest: pd.DataFrame, config: ProtocolConfig) -> None:
    for name, rows in manifest.groupby("site", observed=True):
        site = str(name)
        keys = patient_keys(rows)
        patients, training = keys.nunique(), keys[rows["split"] == Split.TRAIN.value].nunique()
        if site in config.unseen and not (rows["split"] == Split.TEST.value).any():
            raise EmptySiteError(
                f"site {site}, which no model sees, has {many(patients, 'patient')} and no test "
                "patient; raise protocol.test_fraction, or add patients."
            )
        if patients < config.min_patients or (training == 0 and site not in config.unseen):
            raise EmptySiteError(
                f"site {site} has {many(patients, 'usable patient')}, {training} of them for "
                f"training; at least {config.min_patients} and 1 are needed: check its data root, "
                "or lower protocol.min_patients."
            )
