"""Pictures to the pixel, heat-map cells by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from echofm_core.report.heat_map import DARK, PALE, heat_maps, shade
from echofm_core.report.pictures import (
    CAPTION,
    FRAMES,
    GAP,
    SIDE,
    contact_sheet,
    reconstruction_strip,
)
from tests.report.made_run import write_made_store

COLUMNS = ["model", "site", "task", "metric", "value", "low", "high", "patients"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    return write_made_store(tmp_path_factory.mktemp("store"), clips=6)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_contact_sheet_is_two_columns_of_clips(store, tmp_path: Path) -> None:
    """Five of six clips: three lines of two."""
    contact_sheet(*store, "camus", tmp_path / "a.png", clips=5)
    width = 2 * (CAPTION + FRAMES * (SIDE + GAP) + 2 * GAP)
    assert pixels(tmp_path / "a.png").shape == (3 * (SIDE + GAP) + GAP, width)


def test_contact_sheet_masks_to_the_sector(store, tmp_path: Path) -> None:
    """A sector is narrow at the probe: the frame's upper corners lie outside and are black."""
    contact_sheet(*store, "camus", tmp_path / "a.png", clips=1)
    frame = pixels(tmp_path / "a.png")[GAP : GAP + SIDE, GAP + CAPTION : GAP + CAPTION + SIDE]
    assert frame[:8, :8].max() == 0 and frame[:8, -8:].max() == 0
    assert frame.max() > 100


def test_forced_clips_come_first_and_are_labelled(store, tmp_path: Path) -> None:
    """The last clip, forced, fills the only place; its caption has one more line."""
    clips, manifest = store
    contact_sheet(clips, manifest, "camus", tmp_path / "a.png", clips=1, always=["secret-5"])
    alone = manifest[manifest["clip_id"] == "secret-5"]
    contact_sheet(clips, alone, "camus", tmp_path / "b.png", clips=1)
    forced, plain = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    assert (forced[:, GAP + CAPTION :] == plain[:, GAP + CAPTION :]).all()
    inked = [(part[:, : GAP + CAPTION] < 200).any(axis=1).sum() for part in (forced, plain)]
    assert inked[0] > inked[1]


def test_more_forced_clips_than_places_are_all_drawn(store, tmp_path: Path) -> None:
    contact_sheet(*store, "camus", tmp_path / "a.png", clips=1, always=["secret-1", "secret-2"])
    width = CAPTION + FRAMES * (SIDE + GAP) + 2 * GAP
    assert pixels(tmp_path / "a.png").shape == (SIDE + 2 * GAP, 2 * width)


def test_a_site_without_clips_has_a_sheet_too(store, tmp_path: Path) -> None:
    contact_sheet(*store, "nowhere", tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").size
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_strip_shows_the_three_stacks_below_each_other(tmp_path: Path) -> None:
    """Constant stacks 0, 0.5 and 1 give lines of grey 0, 128 and 255."""
    stacks = [np.full((4, 16, 16), level) for level in (0.0, 0.5, 1.0)]
    reconstruction_strip(*stacks, tmp_path / "a.png")
    picture = pixels(tmp_path / "a.png")
    middle = [GAP + SIDE // 2 + line * (SIDE + GAP) for line in range(3)]
    assert picture[middle, CAPTION + SIDE // 2].tolist() == [0, 128, 255]
    assert picture.shape[1] == CAPTION + 4 * (SIDE + GAP) + GAP


def test_strip_rows_are_labelled_and_named(tmp_path: Path) -> None:
    """One line of ink beside the first row, two with a name, two beside "what the encoder sees",
    one beside the reconstruction: gaps between lines of text are rows without ink."""
    stacks = [np.full((2, 16, 16), level) for level in (0.0, 0.5, 1.0)]
    counts = []
    for names in ((), ("camus",)):
        reconstruction_strip(*stacks, tmp_path / "a.png", names=names)
        captions = pixels(tmp_path / "a.png")[:, :CAPTION] < 200
        rows = [
            captions[GAP + line * (SIDE + GAP) : GAP + line * (SIDE + GAP) + SIDE].any(axis=1)
            for line in range(3)
        ]
        counts.append([_lines(row) for row in rows])
    assert counts == [[1, 2, 1], [2, 2, 1]]


@pytest.mark.parametrize("name", ["echonet_dynamic", "x" * 64, "north-hospital.department_of_echo"])
def test_a_long_name_is_whole_beside_the_strip(name: str, tmp_path: Path) -> None:
    """All of its ink is there, give or take the joints of its lines, and none at the frames or
    below the first row."""
    stacks = [np.full((2, 16, 16), level) for level in (0.0, 0.5, 1.0)]
    pen = ImageDraw.Draw(whole := Image.new("L", (1000, 40), 255))
    pen.text((4, 4), name, fill=30, font=ImageFont.load_default(18))
    captions = []
    for names in ((), (name,)):
        reconstruction_strip(*stacks, tmp_path / "a.png", names=names)
        picture = 255.0 - pixels(tmp_path / "a.png")
        captions.append(picture[:, : picture.shape[1] - 2 * (SIDE + GAP) - GAP])
    plain, named = captions
    assert not named[:, -2:].any()
    below = GAP + SIDE
    assert (named[below:, :CAPTION] == plain[below:, :CAPTION]).all()
    assert not named[below:, CAPTION:].any()
    # A name is drawn fainter (110) than the label (30), so its ink is scaled to compare.
    ink = (named[:below].sum() - plain[:below].sum()) * (255 - 30) / (255 - 110)
    assert ink == pytest.approx((255.0 - np.asarray(whole)).sum(), rel=0.03)


def _lines(inked: np.ndarray) -> int:
    """Lines of text by their 23-pixel pitch: bands that hold ink."""
    return sum(bool(inked[start : start + 23].any()) for start in range(4, 4 + 23 * 4, 23))


def test_strip_survives_values_outside_its_range(tmp_path: Path) -> None:
    wild = np.array([[[np.nan, 2.0], [-1.0, np.inf]]])
    reconstruction_strip(wild, wild, wild, tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").size


def test_heat_map_by_hand() -> None:
    """MAE 4, 6, 8: lower is better, so 4 is darkest, 8 palest, 6 halfway between both colours."""
    scores = pd.DataFrame(
        [
            ("federated", "A", "ef", "mae", 4.0, 3.0, 5.0, 30),
            ("pooled", "A", "ef", "mae", 6.0, 5.0, 7.0, 30),
            ("local:A", "A", "ef", "mae", 8.0, 7.0, 9.0, 30),
        ],
        columns=COLUMNS,
    )
    (found,) = heat_maps(scores, ["A", "B"], 10)
    assert found.columns == (("A", "30 patients"), ("B", "no labels")) and found.better == "lower"
    cells = dict(found.rows)
    assert list(cells) == ["federated", "pooled", "A alone"]
    first = cells["federated"][0]
    assert (first.value, first.interval, first.best) == ("4.0", "3.0 to 5.0", True)
    assert first.style.startswith(f"background:rgb({','.join(map(str, DARK))})")
    assert cells["A alone"][0].style.startswith(f"background:rgb({','.join(map(str, PALE))})")
    halfway = [round((low + high) / 2) for low, high in zip(PALE, DARK, strict=True)]
    assert cells["pooled"][0].style.startswith(f"background:rgb({','.join(map(str, halfway))})")
    assert cells["pooled"][1].note == 1 and found.notes == ("B has no EF labels to test on",)


def test_a_site_with_too_few_patients_is_neither_shaded_nor_best() -> None:
    """B's 1.0 from nine patients would be best; the scale is that of A alone, 4 and 8."""
    scores = pd.DataFrame(
        [
            ("federated", "A", "ef", "mae", 4.0, 3.0, 5.0, 30),
            ("pooled", "A", "ef", "mae", 8.0, 7.0, 9.0, 30),
            ("federated", "B", "ef", "mae", 1.0, 0.5, 1.5, 9),
        ],
        columns=COLUMNS,
    )
    (found,) = heat_maps(scores, [], 10)
    ours = dict(found.rows)["federated"]
    assert (ours[1].value, ours[1].interval) == ("1.0", "n 9, too few to judge")
    assert not ours[1].style and not ours[1].best
    assert ours[0].style.startswith(f"background:rgb({','.join(map(str, DARK))})")


def test_a_score_over_fewer_sites_is_not_the_best_of_all() -> None:
    """The floor's 3.0 over A's 30 patients is not better than 4.0 over the 50 of both sites."""
    rows = [
        ("federated", "A", "ef", "mae", 3.5, 3.0, 4.0, 30),
        ("federated", "B", "ef", "mae", 5.0, 4.0, 6.0, 20),
        ("federated", "all", "ef", "mae", 4.0, 3.0, 5.0, 50),
        ("no_network", "A", "ef", "mae", 3.0, 2.0, 4.0, 30),
        ("no_network", "all", "ef", "mae", 3.0, 2.0, 4.0, 30),
    ]
    (found,) = heat_maps(pd.DataFrame(rows, columns=COLUMNS), [], 10)
    cells = {model: row[-1] for model, row in found.rows}
    assert found.columns[-1] == ("all sites", "50 patients")
    assert cells["federated"].best and not cells["no network (ridge)"].best
    assert cells["no network (ridge)"].interval == "2.0 to 4.0, n 30 of 50"


def test_worst_site_gap_and_mean_come_first() -> None:
    """The federation at A and B: worst 8 at B, gap 4, mean 6; A alone was tested at one site."""
    scores = pd.DataFrame(
        [
            ("federated", "A", "ef", "mae", 4.0, 3.0, 5.0, 30),
            ("federated", "B", "ef", "mae", 8.0, 7.0, 9.0, 30),
            ("local:A", "A", "ef", "mae", 3.0, 2.0, 4.0, 30),
        ],
        columns=COLUMNS,
    )
    (found,) = heat_maps(scores, [], 10)
    assert [title for title, _ in found.columns] == ["worst site", "gap", "mean", "A", "B"]
    cells = dict(found.rows)
    first = [(cell.value, cell.interval, cell.best) for cell in cells["federated"][:3]]
    assert first == [("8.0", "B", True), ("4.0", "", True), ("6.0", "", True)]
    assert [cell.value for cell in cells["A alone"][:3]] == ["n/a"] * 3
    assert cells["federated"][3].value == "4.0" and not cells["federated"][3].best


@pytest.mark.parametrize("goodness", np.linspace(0, 1, 51))
def test_every_shade_can_be_read(goodness: float) -> None:
    """WCAG contrast of text on its cell is at least 4.5 to 1, the bar for text of any size."""
    background, ink = shade(goodness).removeprefix("background:rgb(").split(");color:#")
    text = [int(ink[i : i + 2], 16) for i in (0, 2, 4)]

    def luminance(rgb):
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in (value / 255 for value in rgb)
        ]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    dark, light = sorted([luminance(text), luminance(map(int, background.split(",")))])
    assert (light + 0.05) / (dark + 0.05) >= 4.5
