import numpy as np
import pytest
import torch

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_echo_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.tasks import STANDARDISATION, Task
from echofm_core.training.predict import COLUMNS, predict
from tests.training.site import PLAN


@pytest.fixture
def model() -> EchoModel:
    """Heads that say something: their initial weights are near zero."""
    model = build_echo_model(PLAN)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for head in model.heads.values():
            for item in head.parameters():
                item.copy_(torch.randn(item.shape, generator=generator) * 0.01)
    return model


def test_one_row_a_clip_and_label_with_the_mean_over_its_windows(
    model: EchoModel, clips: ClipWindows
) -> None:
    """Against window by window, with exp and softmax written out here."""
    table = predict(model, clips, PLAN.finetune, batch_size=5, device="cpu")
    assert list(table.columns) == COLUMNS
    assert table["task"].value_counts().to_dict() == {
        "ef": 16,
        "edv": 16,
        "reduced_ef": 16,
        "as_grade": 4,
    }
    batch = to_batch(clips.test_windows(3))
    assert len(batch.video) == 2
    with torch.no_grad():
        outputs = model(*model.inputs(batch, torch.device("cpu")))
    rows = table[table["clip_id"] == "clip-3"].set_index("task")
    volume = np.exp(outputs[Task.EDV][:, 0].numpy() * 0.4 + 4.5).mean()
    assert rows.loc["edv", "prediction"] == pytest.approx(volume, rel=1e-4)
    assert rows.loc["edv", "truth"] == 101
    chance = (1 / (1 + np.exp(-outputs[Task.REDUCED_EF][:, 0].numpy()))).mean()
    assert rows.loc["reduced_ef", "prediction"] == pytest.approx(chance, rel=1e-4)
    assert rows.loc["reduced_ef", "truth"] == 1  # EF 25

    batch = to_batch(clips.test_windows(20))
    with torch.no_grad():
        logits = model(*model.inputs(batch, torch.device("cpu")))[Task.AS_GRADE].numpy()
    classes = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).mean(axis=0)
    row = table[(table["clip_id"] == "clip-20") & (table["task"] == "as_grade")].iloc[0]
    found = row[[f"p{i}" for i in range(5)]].astype(float)
    np.testing.assert_allclose(found, classes, rtol=1e-4)
    assert row["prediction"] == classes.argmax()
    assert row["truth"] == 1


def test_predictions_undo_the_scaling_that_the_plan_names(
    model: EchoModel, clips: ClipWindows
) -> None:
    """The same outputs under another mean and deviation; ln EDV has mean 5 and deviation 0.1."""
    scaling = {**STANDARDISATION, Task.EF: (50.0, 10.0), Task.EDV: (5.0, 0.1)}
    named = PLAN.finetune.model_copy(update={"standardisation": scaling})
    own, other = (
        predict(model, clips, config, batch_size=8, device="cpu").set_index(["task", "clip_id"])
        for config in (PLAN.finetune, named)
    )
    ef = own.loc["ef", "prediction"].to_numpy()
    expected = (ef - 55) / 12 * 10 + 50
    np.testing.assert_allclose(other.loc["ef", "prediction"], expected, rtol=1e-4)
    for row in (0, 9):
        batch = to_batch(clips.test_windows(row))
        with torch.no_grad():
            raw = model(*model.inputs(batch, torch.device("cpu")))[Task.EDV][:, 0].numpy()
        volume = other.loc[("edv", f"clip-{row}"), "prediction"]
        assert volume == pytest.approx(np.exp(raw * 0.1 + 5).mean(), rel=1e-4)


def test_batches_make_no_difference(model: EchoModel, clips: ClipWindows) -> None:
    first, second = (
        predict(model, clips, PLAN.finetune, batch_size=size, device="cpu") for size in (1, 64)
    )
    np.testing.assert_allclose(first["prediction"], second["prediction"], rtol=1e-4)


def test_without_labels_there_is_nothing_to_predict(model: EchoModel, clips: ClipWindows) -> None:
    config = PLAN.finetune.model_copy(update={"tasks": (Task.VIEW,)})
    table = predict(model, clips, config, batch_size=4, device="cpu")
    assert table.empty
    assert list(table.columns) == COLUMNS
