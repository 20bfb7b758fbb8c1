"""Pictures of a run for its report: what each site holds, what the auto-encoder sees."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from client.state import Own, SiteState
from echofm_core.data.manifest import Split
from echofm_core.data.prepare import Prepared
from echofm_core.data.store.clip_store import ClipStore, open_stores
from echofm_core.data.windows import MEAN, SD, ClipWindows, to_batch
from echofm_core.models.build import build_autoencoder
from echofm_core.models.weights import load_arrays
from echofm_core.plan.document import Plan
from echofm_core.report.pictures import HIDDEN, contact_sheet, reconstruction_strip
from echofm_core.runtime.randomness import torch_stream
from echofm_core.training.stages import Target
from server.rounds import pretrained_encoder
from simulations.prepare import trained_on

#: Vendor of the real cine that the pydicom package ships; it is always on its site's sheet.
REAL_CINE_VENDOR = "SonoSite"


def draw_pictures(plan: Plan, run: Path, prepared: Prepared) -> None:
    """Write ``pictures/contact_SITE.png`` and, after pre-training, ``reconstruction.png`` there.

    A student of latent targets predicts no pixels, and is not drawn.
    """
    folder = run / "pictures"
    folder.mkdir(exist_ok=True)
    store = open_stores(prepared.stores)
    for site in prepared.site_names():
        rows = prepared.manifest[prepared.manifest["site"] == site]
        real = rows["vendor"].fillna("").str.contains(REAL_CINE_VENDOR, case=False)
        always = list(rows.loc[real, "clip_id"])
        contact_sheet(store, rows, site, folder / f"contact_{site}.png", always=always)
    if plan.pretrain.rounds and plan.pretrain.target is Target.PIXELS:
        _reconstruct(plan, run, store, prepared, folder / "reconstruction.png")


def _reconstruct(plan: Plan, run: Path, store: ClipStore, prepared: Prepared, path: Path) -> None:
    """One masked test clip of each site: as it is, what the encoder sees, what is predicted.

    Each site's own decoder is used: decoders stay at home unless the plan shares them.
    """
    model = build_autoencoder(plan)
    encoder = pretrained_encoder(run, plan)
    rows: list[tuple[NDArray[np.float32], ...]] = []
    trained = trained_on(prepared.manifest, plan)
    examples = trained[trained["split"] == Split.TEST.value].drop_duplicates("site")
    sites = sorted(examples["site"])
    for site in sites:
        state = SiteState(run / "sites" / site, plan.run_name())
        decoder = state.own(Own.DECODER, plan.pretrain.rounds + 1)
        load_arrays(model, {**encoder, **decoder})
        clip = ClipWindows(store, examples[examples["site"] == site], plan.data)
        batch = to_batch(clip.test_windows(0)[:1])
        masks = torch_stream(plan.seed, site, 0, "pictures.mask")
        filled, hidden = model.eval().reconstruct(batch.video, batch.sector, masks)
        original = _grey(batch.video)
        masked = np.where(hidden[:, :, 0].numpy(), np.float32(HIDDEN), original)
        rows.append((original, masked, _grey(filled)))
    original, masked, filled_in = (np.concatenate(part) for part in zip(*rows, strict=True))
    reconstruction_strip(original, masked, filled_in, path, names=sites)


def _grey(video: torch.Tensor) -> NDArray[np.float32]:
    """Normalised (B, T, 1, S, S) back to grey (B, T, S, S) in [0, 1]."""
    return np.asarray((video[:, :, 0] * SD + MEAN).clamp(0, 1).numpy(), dtype=np.float32)
