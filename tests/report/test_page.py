"""The page is whole, self-contained, honest about what is missing, and safe to open."""

import base64
import io
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.plan.load import load_plan
from echofm_core.report.page import write_report
from echofm_core.report.run_files import read_run
from tests.pages.html import assert_self_contained, words_of
from tests.report.made_run import (
    draw_made_pictures,
    write_made_run,
    write_made_store,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run = write_made_run(folder / "run")
    draw_made_pictures(run, *write_made_store(folder / "data"))
    return run


@pytest.fixture(scope="module")
def small(made: Path) -> Path:
    """Every file that ``made`` has, with less in it, for questions that less answers as well."""
    run = write_made_run(made.with_name("small"), small=True)
    shutil.copytree(made / "pictures", run / "pictures")
    names = [{file.relative_to(at).parts[0] for file in at.iterdir()} for at in (made, run)]
    assert names[0] - {"report.html"} == names[1]
    return run


@pytest.fixture(scope="module")
def page(made: Path) -> str:
    return write_report(made).read_text()


def without(run: Path, to: Path, *names: str) -> str:
    shutil.copytree(run, to)
    for name in names:
        target = to / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    return words_of(write_report(to).read_text())


@pytest.mark.parametrize("valid", [True, False], ids=["valid", "of another version"])
def test_folders_of_this_machine_are_not_passed_on(
    small: Path, tmp_path: Path, valid: bool
) -> None:
    """Nor where the plan has keys that this version refuses, and is shown as it stands."""
    run = tmp_path / "someone" / "run"
    shutil.copytree(small, run)
    plan = load_plan(run / "plan.toml")
    home = "/home/someone/"
    places = {key: f"{home}{key}" for key in ("cache", "secret", "start")}
    machine = plan.machine.model_copy(update={"roots": (f"{home}secret/CAMUS_public",), **places})
    written = plan.model_copy(update={"machine": machine}).to_toml()
    (run / "plan.toml").write_text(written if valid else f"unknown = 1\n{written}")
    text = write_report(run).read_text()
    assert "someone" not in text
    assert "CAMUS_public" in text


def test_nothing_is_loaded_from_outside(page: str) -> None:
    assert_self_contained(page)


def test_pictures_are_all_there(page: str) -> None:
    """Training, three EF sites, ROC and calibration as SVG; two sheets as PNG,
    and the strip of two examples in two."""
    assert page.count('src="data:image/svg+xml;base64,') == 6
    assert page.count('src="data:image/png;base64,') == 4
    assert page.count('alt="') == 10


def test_the_data_of_a_site_s_figure_are_of_that_site(page: str) -> None:
    """Seven studies of two models that are drawn."""
    (content,) = re.findall(r'agreement-ef-hmc_qu.csv" href="data:text/csv[^,]*,([^"]+)', page)
    rows = pd.read_csv(io.BytesIO(base64.b64decode(content)))
    assert rows.groupby(["site", "model"]).size().to_dict() == {
        ("hmc_qu", "federated"): 7,
        ("hmc_qu", "leave_one_out"): 7,
    }


def test_columns_of_the_left_out_site_are_there_where_such_a_model_is(
    page: str, small: Path
) -> None:
    def opening(html: str) -> str:
        return html[html.index("What was found") : html.index("How sure")]

    assert 'colspan="2">left-out site<' in opening(page)
    without_it = opening(write_report(small).read_text())
    assert "left-out site" not in without_it
    assert without_it.count(">worst site<") == without_it.count(">mean over sites<") == 1


def test_what_ran_is_said(page: str) -> None:
    text = words_of(page)
    for part in ("made-up-run", "5f" * 32, "6 min 53 s", "flwr 1.41.0", "Synthetic data"):
        assert part in text
    assert "No site's score rests on more than 32 test patients" in text


def test_table_cells_are_those_of_the_scores(made: Path, page: str) -> None:
    scores = pd.read_parquet(made / "scores.parquet").set_index(["model", "site", "task", "metric"])
    row = scores.loc[("federated", "camus", "ef", "mae")]
    cell = f"<b>{row['value']:.1f}</b><small>{row['low']:.1f} to {row['high']:.1f}</small>"
    assert cell in page
    text = words_of(page)
    assert "mimic_iv_echo has no EF labels to test on" in text
    assert "no other site has aortic stenosis labels to learn from" in text


def test_the_page_opens_with_question_finding_certainty_and_danger(page: str) -> None:
    """In this order, all before the first hash, time or table of scores."""
    text = words_of(page)
    parts = (
        "What was asked", "What was found", "How sure", "What is dangerous",
        "What is taken for what", "Site by model", "This run", "5f" * 32,
    )  # fmt: skip
    places = [text.rindex(part) for part in parts]
    assert places == sorted(places)
    assert text.index("6 min 53 s") > places[5]


def test_the_question_names_sites_patients_and_labels(page: str) -> None:
    text = words_of(page)
    assert "Can one model read EF, ESV, EDV, reduced EF, aortic stenosis at 5 sites" in text
    assert "camus 40 12 EF, reduced EF" in text and "mimic_iv_echo 40 12 none" in text


def test_found_and_danger_are_those_of_the_tables(made: Path, page: str) -> None:
    """Worst, gap and mean of the two sites with enough patients, from the score table."""
    text = words_of(page)
    scores = pd.read_parquet(made / "scores.parquet")
    row = scores[(scores["model"] == "federated") & (scores["metric"] == "mae")].set_index("site")
    values = row.loc[["camus", "echonet_dynamic"], "value"]
    assert f"{values.mean():.1f} 2 sites; hmc_qu {row.loc['hmc_qu', 'value']:.1f}" in text
    assert f"{values.max():.1f} {values.idxmax()}" in text
    assert f"{values.max() - values.min():.1f} to {values.idxmin()}" in text
    assert "ESV nobody has labels" in text and "EDV nobody has labels" in text
    for title in (
        "EF &lt; 35",
        "EF 35-50",
        "EF 50-65",
        "EF &gt; 65",
        "(sensitivity)",
        "(specificity)",
    ):
        assert title in text
    assert "aortic stenosis, federated" in text


def test_too_few_is_said_at_the_small_site_everywhere(page: str) -> None:
    """In the first screen, in the sentences, in the heat maps."""
    text = words_of(page)
    assert text.count("n 7, too few to judge") >= 3
    assert "hmc_qu" not in text[text.index("paired comparisons") : text.index("published conv")]


def test_nothing_is_said_of_overlapping_intervals(page: str) -> None:
    text = words_of(page).lower()
    assert "overlap" not in text and "may be chance" not in text


def test_without_predictions_the_threshold_and_the_comparisons_are_still_there(
    made: Path, tmp_path: Path
) -> None:
    """A run between hospitals: scores and comparisons leave a site, predictions do not."""
    text = without(made, tmp_path / "run", "predictions")
    assert "(sensitivity)" in text and "EF 35-50" not in text
    assert "What the threshold finds and misses" in text
    assert "federated against the best single site" in text


def test_private_training_has_words_where_its_loss_would_be(small: Path, tmp_path: Path) -> None:
    """tmed2 fine-tuned privately: its epsilon is in the metrics, a loss is not. Then all did."""
    run = tmp_path / "run"
    shutil.copytree(small, run)
    table = pd.read_parquet(run / "metrics.parquet")
    here = (table["site"] == "tmed2") & (table["phase"] == "finetune")
    table.loc[here, "metric"] = "epsilon"
    table.to_parquet(run / "metrics.parquet")
    text = words_of(write_report(run).read_text())
    said = "tmed2: loss is not reported in private training."
    assert f"Fine-tuning (supervised), {said}" in text and "Loss at each site" in text
    table.assign(metric="epsilon").to_parquet(run / "metrics.parquet")
    text = words_of(write_report(run).read_text())
    assert said in text and "holds no training loss" not in text and "Loss at each" not in text


def test_findings_are_counted_listed_and_escaped(page: str) -> None:
    text = words_of(page)
    assert "echonet_dynamic quarantined truncated_video 1 the file ends in frame 3." in text
    assert "Videos/&lt;b&gt;0X1A.avi" in page and "<b>0X1A" not in page


def test_privacy_is_tabled_and_an_unknown_is_said(page: str) -> None:
    text = words_of(page)
    assert "camus 3.21 1.0e-05 unknown" in text and "tmed2 2.50 1.0e-05 1.10" in text


def test_the_same_run_gives_the_same_page(made: Path, page: str) -> None:
    assert write_report(made).read_text() == page
    assert not list(made.glob(".report*"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plan.toml", "does not exist"),
        ("metrics.parquet", "metrics.parquet is not in the run folder"),
        ("scores.parquet", "scores.parquet is not in the run folder"),
        ("paired.parquet", "paired.parquet is not in the run folder"),
        ("predictions", "predictions/ holds no predictions"),
        ("findings.parquet", "findings.parquet is not in the run folder"),
        ("sites.parquet", "sites.parquet is not in the run folder"),
        ("summary.json", "summary.json cannot be read (FileNotFoundError)"),
        ("pictures/reconstruction.png", "this run did no pre-training"),
        ("pictures", "pictures/ holds no contact sheet"),
    ],
)
def test_an_absent_file_is_named_where_it_would_be(
    small: Path, tmp_path: Path, name: str, said: str
) -> None:
    assert said in without(small, tmp_path / "run", name)


def test_an_empty_folder_still_gives_a_page(tmp_path: Path) -> None:
    text = words_of(write_report(tmp_path).read_text())
    assert text.count("Not shown:") >= 9
    assert "no two models" in text or "paired.parquet is not in the run folder" in text


def test_a_damaged_table_is_named(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small, run)
    (run / "scores.parquet").write_bytes(b"not parquet")
    (run / "predictions" / "federated.parquet").write_bytes(b"neither")
    text = words_of(write_report(run).read_text())
    assert "scores.parquet cannot be read (ArrowInvalid)" in text
    assert "federated.parquet cannot be read (ArrowInvalid)" in text


def test_leave_one_out_files_are_one_model(made: Path, tmp_path: Path) -> None:
    """Two ``without-SITE`` files whose rows say model = leave_one_out read as one table."""
    run = tmp_path / "run"
    shutil.copytree(made, run)
    whole = pd.read_parquet(run / "predictions" / "leave_one_out.parquet")
    (run / "predictions" / "leave_one_out.parquet").unlink()
    for site, rows in whole.groupby("site"):
        rows.to_parquet(run / "predictions" / f"without-{site}.parquet")
    assert len(read_run(run).predictions["leave_one_out"]) == len(whole)


def test_no_privacy_is_said_plainly(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small, run)
    text = (run / "summary.json").read_text()
    (run / "summary.json").write_text(re.sub(r'"privacy": \[.*\]', '"privacy": []', text))
    assert "No differential privacy was applied" in words_of(write_report(run).read_text())
