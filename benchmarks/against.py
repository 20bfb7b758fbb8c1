"""A benchmark on this tree and on an earlier commit, in turns: has a change made anything slower?

``python -m benchmarks.against v1.0 simulator`` runs ``benchmarks.simulator`` of both three times
each, in the same environment, old and new by turns, and prints both medians with the range of each.
Where the ranges do not overlap, the row is ``apart``: the difference is larger than the noise. What
follows the name goes to the benchmark: ``python -m benchmarks.against HEAD~9 data --quick``. A bar
that the benchmark itself misses does not count here; on a busy machine nothing does.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks._command import command_line

#: Exit code of a benchmark that ran and missed a bar of its own.
MISSED = 1
HERE = Path(__file__).resolve().parents[1]


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="echofm-against-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)


def figures(tree: Path, name: str, options: list[str]) -> dict[str, float]:
    """Run a benchmark of a tree once; its own figure by what was measured.

    Raises:
        RuntimeError: It did not come to an end.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--json", str(rows)]
        ran = subprocess.run(
            command,
            check=False,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ran.returncode not in (0, MISSED) or not rows.exists():
            raise RuntimeError(f"benchmarks.{name} of {tree} failed: {ran.stderr[-800:]}")
        return {row["what"]: float(row["ours"]) for row in json.loads(rows.read_text())}


def main() -> None:
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("name", help="a benchmark that has --json, e.g. simulator")
    parser.add_argument("--turns", type=int, default=3, help="runs of each tree (default 3)")
    arguments, options = parser.parse_known_args()
    found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    with checkout(arguments.commit) as before:
        for turn in range(arguments.turns):
            for side, tree in enumerate((before, HERE)):
                print(f"turn {turn + 1}/{arguments.turns}: {('before', 'now')[side]}", flush=True)
                for what, figure in figures(tree, arguments.name, options).items():
                    found[what][side].append(figure)
    width = max(map(len, found))
    print(f"{'what':{width}}  {'before':>24}  {'now':>24}  ratio")
    for what, (old, new) in found.items():
        if not (old and new):
            print(f"{what:{width}}  {'only one of the two has it':>24}")
            continue
        differ = min(new) > max(old) or max(new) < min(old)
        apart = "  apart" if differ and arguments.turns > 1 else ""  # one run shows no noise
        ratio = median(new) / median(old) if median(old) else float("nan")
        print(f"{what:{width}}  {_range(old):>24}  {_range(new):>24}  {ratio:.3f}{apart}")


def _range(values: list[float]) -> str:
    return f"{median(values):.4g} [{min(values):.4g}, {max(values):.4g}]"


if __name__ == "__main__":
    main()
