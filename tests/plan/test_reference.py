"""The reference pages say what the code says."""

import inspect
import re
from pathlib import Path

import pytest

from echofm_core.contract import ENCODER, HEADS, STF_NET
from echofm_core.models.build import anatomy_of
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.reference import reference
from echofm_core.runtime import errors
from echofm_core.runtime.error_reference import reference as error_page

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_every_error_has_its_own_code_and_its_row() -> None:
    """Written by `python -m echofm_core.runtime.error_reference > docs/reference/errors.md`."""
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass)]
    codes = {item.__name__: item.exit_code for item in classes}
    assert len(set(codes.values())) == len(codes)
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", page, re.M)
    assert {name: int(code) for code, name in rows} == codes
    assert page == error_page()
    assert all("remedy" in vars(item) for item in classes), "each says what to do in its own words"


def test_the_plan_page_is_current() -> None:
    """Write it again with `python -m echofm_core.plan.reference > docs/reference/plan.md`."""
    assert (DOCS / "plan.md").read_text(encoding="utf-8") == reference()


def test_the_bytes_of_fine_tuning_are_those_of_the_models() -> None:
    """The page's MB a round are four bytes for each parameter that trains, but for array headers.

    The page's own figures were counted on messages.
    """
    tables = {"data": {"size": 224, "frames": 16}, "model": {"size": "base"}}
    found = anatomy_of(plan_from_mapping(tables, "of the page"))
    encoder, fusion, heads = (found.groups[name] for name in (ENCODER, STF_NET, HEADS))
    trained = {
        "`full`": encoder + fusion + heads,
        "`lora`, rank 8": found.adapters + fusion + heads,
        "`stf_probe`": fusion + heads,
        "`linear`": heads,
    }
    page = (DOCS.parent / "how-to" / "fine-tuning.md").read_text(encoding="utf-8")
    told = {mode: float(mb) for mode, mb in re.findall(r"^\| (`.+?) \| ([\d.]+) MB", page, re.M)}
    assert {mode: told[mode] for mode in trained} == {
        mode: pytest.approx(4 * count / 1e6, abs=0.1) for mode, count in trained.items()
    }
