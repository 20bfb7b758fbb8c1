"""Manifests whose sites can be counted by hand, for every rule."""

import pandas as pd

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.plan.protocol import ProtocolConfig, ProtocolName

#: Data sets of the patients of a rule that asks for more than one.
DATASETS = {ProtocolName.FEDCVD: ("camus", "echonet_dynamic", "hmc_qu")}


def manifest(
    patients: int, clips: int = 2, official: bool = False, datasets: tuple[str, ...] = ("camus",)
) -> pd.DataFrame:
    """Patients ``p000`` ... with all columns that rules go by; every third has PLAX alone."""
    rows = []
    for patient in range(patients):
        for clip in range(clips):
            rows.append(
                {
                    "dataset": datasets[patient % len(datasets)],
                    "patient_id": f"p{patient:03d}",
                    "study_id": f"p{patient:03d}s",
                    "clip_id": f"p{patient:03d}-{clip}",
                    "path": f"/x/{patient}-{clip}.nii.gz",
                    "view": "PLAX" if patient % 3 == 0 else ["A4C", "A2C"][clip % 2],
                    "quality": ["Good", "Medium", "Poor"][(patient + clip) % 3],
                    "vendor": "GE",
                    "model": ["Vivid E95", "Vivid S70"][patient % 2],
                    "fps": 30.0 + patient,
                    "depth_cm": 12.0 + patient % 7,
                    "care_setting": ["Ward 3", "outpatient"][patient % 2],
                    "ef": 20.0 + patient % 60,
                    "split": ("test" if patient % 5 == 0 else "train") if official else None,
                }
            )
    return manifest_from_rows(rows)


def of_rule(
    name: ProtocolName, patients: int, clips: int = 2, official: bool = False
) -> pd.DataFrame:
    """A manifest that the rule can place."""
    return manifest(patients, clips, official, DATASETS.get(name, ("camus",)))


def config_of(name: ProtocolName, **keys: object) -> ProtocolConfig:
    """A table under which no site of :func:`of_rule` is too small."""
    own: dict[str, object] = {"views": ("A4C",)} if name is ProtocolName.FEDCVD else {}
    mild = {"clients": 2, "alpha": 50.0, "spread": 0.3, "min_patients": 1}
    return ProtocolConfig.model_validate({"name": name, **mild, **own, **keys})
