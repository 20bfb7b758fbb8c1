"""The reference pages say what the code says."""

import inspect
import re
from pathlib import Path

from echofm_core import errors
from echofm_core.plan_reference import reference

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_every_error_has_its_own_code_and_its_row() -> None:
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass)]
    codes = {item.__name__: item.exit_code for item in classes}
    assert len(set(codes.values())) == len(codes)
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", (DOCS / "errors.md").read_text(), re.M)
    assert {name: int(code) for code, name in rows} == codes


def test_the_plan_page_is_current() -> None:
    """Write it again with `python -m echofm_core.plan_reference > docs/reference/plan.md`."""
    assert (DOCS / "plan.md").read_text(encoding="utf-8") == reference()
