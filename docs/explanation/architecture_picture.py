"""Draws ``architecture.svg``: ``python docs/explanation/architecture_picture.py`` writes it anew.

Boxes name the files of the tree, so that ``tests/core/test_docs.py`` can look for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

WIDTH, HEIGHT = 1160, 860
STYLE = """
text { font: 13px Helvetica, Arial, sans-serif; fill: #1b1f24 }
.title { font-weight: bold; font-size: 15px } .name { font-weight: bold }
.file { font: 11px Menlo, Consolas, monospace; fill: #57606a }
.band { fill: #f6f8fa; stroke: #d0d7de } .box { fill: #ffffff; stroke: #57606a }
.wall { stroke: #cf222e; stroke-width: 2; stroke-dasharray: 7 5 }
.arrow { stroke: #0969da; stroke-width: 1.6; fill: none; marker-end: url(#head) }
.imports { stroke: #57606a; stroke-width: 1.4; fill: none; marker-end: url(#grey) }
"""


@dataclass(frozen=True)
class Box:
    """A rectangle with a name and lines below it; file names are in a fixed-width face."""

    x: int
    y: int
    name: str
    lines: tuple[str, ...] = ()
    width: int = 142
    height: int = 78

    def svg(self) -> str:
        """The box and its words."""
        middle = self.x + self.width / 2
        parts = [
            f'<rect class="box" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="6"/>',
            f'<text class="name" x="{middle}" y="{self.y + 21}" text-anchor="middle">'
            f"{escape(self.name)}</text>",
        ]
        for number, line in enumerate(self.lines):
            kind = "file" if "/" in line or line.endswith(".py") else "note"
            parts.append(
                f'<text class="{kind}" x="{middle}" y="{self.y + 40 + 15 * number}" '
                f'text-anchor="middle">{escape(line)}</text>'
            )
        return "\n".join(parts)


def arrow(*points: tuple[float, float], kind: str = "arrow") -> str:
    """A line through points with a head at its end."""
    path = " L".join(f"{x} {y}" for x, y in points)
    return f'<path class="{kind}" d="M{path}"/>'


def chain(boxes: list[Box]) -> list[str]:
    """Arrows from each box to the next one beside it."""
    return [
        arrow((a.x + a.width, a.y + a.height / 2), (b.x - 3, b.y + b.height / 2))
        for a, b in pairwise(boxes)
    ]


def band(y: int, height: int, title: str, note: str) -> str:
    """A hospital, the wire, the coordinator."""
    return (
        f'<rect class="band" x="10" y="{y}" width="{WIDTH - 20}" height="{height}" rx="10"/>'
        f'<text x="26" y="{y + 26}"><tspan class="title">{escape(title)}</tspan>'
        f'<tspan dx="14">{escape(note)}</tspan></text>'
    )


CLIP = [
    Box(24, 54, "files on disk", ("as downloaded,", "or a hospital's own")),
    Box(186, 54, "reader", ("data/readers/", "data/dicom/")),
    Box(348, 54, "manifest", ("data/manifest.py", "one row a clip")),
    Box(510, 54, "clip store", ("data/store/", "decoded once")),
    Box(672, 54, "windows", ("data/windows.py", "T frames at even times")),
    Box(834, 54, "local round", ("training/", "one phase, some steps")),
    Box(996, 54, "update", ("client/training.py", "shared groups, counts")),
]
STAYS = Box(
    24,
    156,
    "stays in the hospital",
    ("clips, manifest, predictions, decoder, privacy ledger, log",),
    480,
    56,
)
CLIENT = Box(834, 150, "ClientApp", ("client/app.py", "checks the plan's hash"), 304, 66)
WIRE = [
    Box(24, 292, "in this process", ("simulations/engine.py", "echofm simulate"), 250),
    Box(304, 292, "Ray cluster", ("simulations/ray_sites.py", "simulate --engine ray"), 250),
    Box(
        584,
        292,
        "SuperLink and SuperNodes",
        ("hospitals: TLS, node keys", "echofm server, client"),
        250,
    ),
    Box(864, 292, "codec", ("echofm_core/wire.py", "each key written once"), 274),
]
UPDATE = [
    Box(996, 446, "replies", ("server/replies.py", "wait on disk, in", "site order"), height=92),
    Box(
        834,
        446,
        "admission",
        ("server/admission.py", "names, shapes, norm,", "finite, plan hash"),
        height=92,
    ),
    Box(672, 446, "running sum", ("server/aggregation/", "one reply at a time"), height=92),
    Box(
        510,
        446,
        "journal",
        ("server/journal.py", "entry, checkpoint,", "state of the rule"),
        height=92,
    ),
    Box(348, 446, "last model", ("server/ending.py", "or the best round"), height=92),
    Box(186, 446, "scores", ("server/evaluation.py", "each site tests", "at home"), height=92),
    Box(24, 446, "report", ("echofm_core/report/", "and the model's card"), height=92),
]
ROOMS = [
    Box(40, 668, "simulations", ("simulations/", "splits, engine, experiments"), 230, 70),
    Box(330, 628, "server", ("server/", "the coordinator's side"), 230, 70),
    Box(330, 718, "client", ("client/", "the hospital's side"), 230, 70),
    Box(
        630,
        628,
        "echofm_core",
        (
            "models · data · training · evaluation",
            "privacy · phantom · report · plan",
            "runtime · tracking · inference",
            "contract.py: what crosses the wall",
            "never imports Flower",
        ),
        290,
        160,
    ),
]


def picture() -> str:
    """The whole drawing."""
    parts = [
        band(10, 220, "A hospital: the walk of a clip", "many sites; each is a process of its own"),
        band(250, 140, "The wire", "the same two apps in three places"),
        band(
            404, 180, "The coordinator: the walk of an update", "server/rounds.py · server/phase.py"
        ),
        band(598, 250, "Who imports whom", "client and server never import each other"),
        '<line class="wall" x1="10" y1="240" x2="1150" y2="240"/>',
        *(box.svg() for box in (*CLIP, STAYS, CLIENT, *WIRE, *UPDATE, *ROOMS)),
        *chain(CLIP),
        arrow((1067, 132), (1067, 147)),
        arrow((986, 216), (986, 289)),
        arrow((1067, 370), (1067, 443)),
        *(arrow((a.x, 492), (b.x + b.width + 3, 492)) for a, b in pairwise(UPDATE)),
        arrow((581, 538), (581, 566), (1120, 566), (1120, 541)),
        '<text x="850" y="560" text-anchor="middle">next round: the new model to sites</text>',
        arrow((270, 690), (327, 663), kind="imports"),
        arrow((270, 716), (327, 753), kind="imports"),
        arrow((560, 663), (627, 690), kind="imports"),
        arrow((560, 753), (627, 730), kind="imports"),
        arrow((155, 738), (155, 820), (775, 820), (775, 791), kind="imports"),
    ]
    heads = "".join(
        f'<marker id="{name}" markerWidth="9" markerHeight="9" refX="7" refY="3.5" orient="auto">'
        f'<path d="M0 0 L7 3.5 L0 7 z" fill="{colour}"/></marker>'
        for name, colour in (("head", "#0969da"), ("grey", "#57606a"))
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="The walk of a clip, the wire, the walk of an update, and the packages">'
        f'\n<style>{STYLE}</style>\n<defs>{heads}</defs>\n<rect width="{WIDTH}" height="{HEIGHT}" '
        f'fill="#ffffff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(picture(), encoding="utf-8")
