"""A run folder with every file of a real one, filled with random numbers; no model behind it."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.plan.document import Plan
from echofm_core.report.pictures import HIDDEN, contact_sheet, reconstruction_strip
from echofm_core.report.run_files import read_run
from echofm_core.report.run_scores import score_models
from echofm_core.report.study_table import METHOD_COLUMNS
from echofm_core.tasks import Task
from echofm_core.training.config import FinetuneConfig
from tests.evaluation.made import prediction_rows

EF_SITES = {"camus": 12, "echonet_dynamic": 32, "hmc_qu": 7}
AS_SITES = {"tmed2": 14}
SITES = ("camus", "echonet_dynamic", "hmc_qu", "mimic_iv_echo", "tmed2")

TASKS = (Task.EF, Task.REDUCED_EF)

#: Model -> (error of its predictions, sites with EF that it is tested on, tested on grades too).
MODELS = {
    "federated": (6.0, tuple(EF_SITES), True),
    "leave_one_out": (9.0, tuple(EF_SITES), False),
    "pooled": (5.5, tuple(EF_SITES), True),
    "local:camus": (9.5, tuple(EF_SITES), False),
    "local:echonet_dynamic": (4.0, tuple(EF_SITES), False),
    "local:tmed2": (7.0, (), True),
    "no_network": (7.0, tuple(EF_SITES), False),
}


def write_made_run(folder: Path, *, patients: int = 1, small: bool = False) -> Path:
    """Write the folder. ``patients`` multiplies the number of test patients.

    A ``small`` one has two models and one site with EF: its page is drawn in a third of the time.
    """
    plan = Plan(name="made-up-run", evaluation=EvaluationConfig(bootstrap=100))
    (folder / "predictions").mkdir(parents=True)
    (folder / "plan.toml").write_text(plan.to_toml())
    for number, (model, (noise, sites, grades)) in enumerate(MODELS.items()):
        if small:
            if model not in ("federated", "no_network"):
                continue
            sites = ("camus",)
        tables = [
            prediction_rows(
                {site: EF_SITES[site] * patients for site in sites}, TASKS, noise=noise, seed=number
            )
        ]
        if grades:
            tables.append(
                prediction_rows(AS_SITES, (Task.AS_GRADE,), clips=2, noise=noise, seed=number)
            )
        rows = pd.concat([table for table in tables if len(table)], ignore_index=True)
        rows = rows.assign(**attributes(rows))
        path = folder / "predictions" / f"{model.replace(':', '-')}.parquet"
        rows.assign(model=model).to_parquet(path)
    score_models(read_run(folder).predictions, plan, folder)
    metric_rows().to_parquet(folder / "metrics.parquet")
    finding_table().to_parquet(folder / "findings.parquet")
    site_table().to_parquet(folder / "sites.parquet")
    (folder / "summary.json").write_text(json.dumps(summary(plan)))
    return folder


def write_made_study(folder: Path) -> Path:
    """A study of one seed and two methods, with the tables of a small run."""
    write_made_run(folder, small=True)
    scores = pd.read_parquet(folder / "scores.parquet")
    scores.assign(seed=0).to_parquet(folder / "seeds.parquet")
    rows = [("fedavg", "federated", "FedAvg.", "McMahan 2017", 4.2, 8, 1)]
    pd.DataFrame(rows, columns=list(METHOD_COLUMNS)).to_parquet(folder / "methods.parquet")
    words = json.loads((folder / "summary.json").read_text())
    words |= {"seeds": [0], "protocol": "institution", "reference": "fedavg"}
    (folder / "summary.json").write_text(json.dumps(words))
    (folder / "study.json").write_text(json.dumps({"protocols": ["institution"]}))
    return folder


def write_made_label_study(folder: Path, shares: tuple[float, ...] = (0.01, 0.1, 1.0)) -> Path:
    """A study of two seeds and one method that varies the share of labels.

    Of the EF MAE of fedavg at CAMUS, which stands for all sites, 12 points with the first share, 2
    less with each next one, with an interval of 1 on either side.
    """
    folder.mkdir()
    for number, share in enumerate(shares):
        place = write_made_study(folder / f"label_fraction-{share:g}")
        plan = Plan(name="made-up-run", finetune=FinetuneConfig(label_fraction=share))
        (place / "plan.toml").write_text(plan.to_toml())
        scores = pd.read_parquet(place / "scores.parquet").assign(spread=0.5, seeds=2)
        mae = (scores["task"] == "ef") & (scores["metric"] == "mae")
        mae &= scores["model"] == "federated"
        value = 12.0 - 2 * number
        scores.loc[mae, ["value", "low", "high"]] = [value, value - 1, value + 1]
        scores.to_parquet(place / "scores.parquet")
        words = json.loads((place / "summary.json").read_text())
        words |= {"seeds": [0, 1], "variation": {"finetune.label_fraction": f"{share:g}"}}
        (place / "summary.json").write_text(json.dumps(words))
    places = [f"label_fraction-{share:g}" for share in shares]
    words = {"protocols": ["institution"], "places": places}
    (folder / "study.json").write_text(json.dumps(words))
    (folder / "plan.toml").write_text(Plan(name="made-up-run").to_toml())
    return folder


def attributes(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """What the manifest says of the patients: two sexes, ages, one image of poor quality in ten."""
    number = rows["patient_id"].str.removeprefix("p").astype(int)
    return {
        "sex": number.map(lambda n: "FM"[n % 2]).astype("string"),
        "age": (20 + number % 70).astype("Float32"),
        "quality": number.map(lambda n: "Poor" if n % 10 == 0 else "Good").astype("string"),
        "vendor": number.map(lambda n: None).astype("string"),
    }


def summary(plan: Plan) -> dict[str, object]:
    """``summary.json`` of the made-up run."""
    return {
        "name": plan.name,
        "plan_hash": plan.digest(),
        "digest": "5f" * 32,
        "seconds": 412.7,
        "versions": {"echofm-federated": "0.1.0", "python": "3.11.2", "flwr": "1.41.0"},
        "synthetic": True,
        "notes": ["mimic_iv_echo has no training labels, so there is no model of it alone."],
        "privacy": [
            {"site": "camus", "epsilon": 3.214, "delta": 1e-5, "noise_multiplier": None},
            {"site": "tmed2", "epsilon": 2.5, "delta": 1e-5, "noise_multiplier": 1.1},
        ],
    }


def metric_rows() -> pd.DataFrame:
    """Losses that fall, of the federated arm and of one that must not be drawn."""
    rng = np.random.default_rng(1)
    rows = [
        ("federated", phase, round_, site, "loss", 0.9 * 0.85**round_ + 0.05 * rng.random())
        for phase, rounds in (("pretrain", 8), ("finetune", 12))
        for round_ in range(1, rounds + 1)
        for site in SITES
        if phase == "pretrain" or site != "mimic_iv_echo"
    ]
    rows.append(("pooled", "finetune", 1, "all", "loss", 3.0))
    return pd.DataFrame(rows, columns=["arm", "phase", "round", "site", "metric", "value"])


def finding_table() -> pd.DataFrame:
    """Three findings; one name tries to be markup."""
    findings = Findings()
    findings.add("camus", "missing_view", "patient0007", "the 4CH sequence is not there.")
    findings.add(
        "echonet_dynamic", "truncated_video", "Videos/<b>0X1A.avi", "the file ends in frame 3."
    )
    findings.add(
        "echonet_dynamic", "wrong_frame_count", "FileList.csv:17",
        "FileList says 120 frames, the video has 118.", Severity.REPAIRED,
    )  # fmt: skip
    return findings.table()


def site_table() -> pd.DataFrame:
    """Label counts by site and split; volumes are planned, and nobody has them."""
    rows = [
        {
            "site": site,
            "dataset": site,
            "split": split,
            "clips": clips,
            "patients": clips // 2,
            "ef": clips * (site in EF_SITES),
            "esv": 0,
            "edv": 0,
            "reduced_ef": clips * (site in EF_SITES),
            "as_grade": clips * (site == "tmed2"),
        }
        for site in SITES
        for split, clips in (("train", 80), ("val", 10), ("test", 24))
    ]
    return pd.DataFrame(rows)


def write_made_store(folder: Path, clips: int = 14) -> tuple[ClipStore, pd.DataFrame]:
    """NIfTI files of a beating ring in a speckled sector, decoded into a real clip store.

    Clip 3 has neither a frame rate nor a view.
    """
    size, length = 96, 20
    rng = np.random.default_rng(2)
    rows_y, rows_x = np.mgrid[:size, :size] / size - 0.5
    sector = np.abs(rows_x) < 0.75 * (rows_y + 0.5)
    rows = []
    for clip in range(clips):
        radius = 0.2 + 0.08 * np.cos(2 * np.pi * (np.arange(length) + clip) / length)
        distance = np.hypot(rows_y - 0.15, rows_x)[..., None]
        wall = np.exp(-(((distance - radius) / 0.05) ** 2)).clip(0.15, 1)
        frames = 255 * wall * rng.random((size, size, length)) * sector[..., None]
        path = folder / f"secret-{clip}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = frames.astype(np.uint8).transpose(1, 0, 2)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), path)
        known = {} if clip == 3 else {"fps": 30.0, "view": ("A4C", "A2C")[clip % 2]}
        rows.append(
            {
                "dataset": "camus", "site": "camus", "patient_id": f"secret-{clip // 2}",
                "clip_id": f"secret-{clip}", "path": str(path), **known,
            }
        )  # fmt: skip
    manifest = manifest_from_rows(rows)
    store, findings = build_store(manifest, folder / "store", DataConfig(size=64))
    assert Severity.QUARANTINED not in [item.severity for item in findings.items]
    return store, manifest


def draw_made_pictures(run: Path, store: ClipStore, manifest: pd.DataFrame) -> None:
    """Both kinds of picture, through the real drawing code."""
    pictures = run / "pictures"
    for site in ("camus", "mimic_iv_echo"):
        rows = manifest.assign(site=site)
        contact_sheet(store, rows, site, pictures / f"contact_{site}.png", always=["secret-5"])
    original = np.stack([store.frames(f"secret-{clip}") for clip in (0, 1)]) / 255.0
    hidden = np.random.default_rng(3).random((2, 1, 8, 8)) < 0.85
    hidden = np.kron(hidden, np.ones((1, 1, 8, 8))).astype(bool)
    blurred = (original + np.roll(original, 2, -1) + np.roll(original, 2, -2)) / 3
    reconstruction_strip(
        original,
        np.where(hidden, HIDDEN, original),
        np.where(hidden, blurred, original),
        pictures / "reconstruction.png",
        names=("camus", "echonet_dynamic"),
    )
