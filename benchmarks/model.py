"""Training steps against Hugging Face's VideoMAE and the published recipe: speed, memory, FLOPs.

``python -m benchmarks.model [--quick] [--device auto] [--json FILE]``: a step is forward, backward
and AdamW on a batch that lies ready; same clips a step, same mask ratio, all sides in turns in one
process. A rate is that of the median turn. Clips have an ultrasound sector, outside of which ours
has no tokens, as training has it by default; what is said of a whole square has tokens everywhere.
Memory is the peak of a fresh process for each side, above what it held before the model was built.
Bars are for the base size; ``--quick`` runs the small one and judges nothing.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks._rows import Bar, Row, finish, parser
from benchmarks._timing import machine, side_by_side
from benchmarks.peers import echofm, videomae_hf
from benchmarks.step_memory import Side
from benchmarks.training_step import (
    BASE,
    MASK_RATIO,
    QUICK,
    Learner,
    Setting,
    cones,
    matmul_rate,
    step_flops,
    whole,
)
from echofm_core.models.masking import positions_seen
from echofm_core.training.config import Precision
from echofm_core.training.execution.devices import find_device

FP32, BF16 = Precision.FP32, Precision.BF16


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where and what is measured.

    Attributes:
        setting: Sizes.
        device: Where the models are.
        peaks: Measured FLOP/s of a large product, by the precisions that are worth measuring.
    """

    setting: Setting
    device: torch.device
    peaks: dict[Precision, float]

    @property
    def precisions(self) -> list[Precision]:
        """fp32, and bf16 where the machine multiplies it faster."""
        return list(self.peaks)

    @property
    def fastest(self) -> Precision:
        """What a plan would name for speed on this machine."""
        return self.precisions[-1]

    def bar(self, least: float) -> float | None:
        """A bar on what bf16 gains over fp32: none where the machine multiplies it no faster."""
        return least if self.fastest is BF16 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One learner in one precision."""

    seconds: float
    flops: int
    batch: int
    precision: Precision

    @property
    def clips(self) -> float:
        """Clips a second."""
        return self.batch / self.seconds


def measure(
    bench: Bench, batch: int, turns: int, sides: Sequence[tuple[Learner, Precision]]
) -> list[Measured]:
    """Take turns; FLOPs are counted once for each learner."""
    flops = {id(learner): step_flops(learner) for learner, _ in sides}
    runs = [lambda one=one, how=how: one.step(how) for one, how in sides]
    spent = side_by_side(runs, turns)
    return [
        Measured(seconds=time.wall, flops=flops[id(one)], batch=batch, precision=how)
        for time, (one, how) in zip(spent, sides, strict=True)
    ]


def mae_rows(bench: Bench) -> list[Row]:
    """Pre-training."""
    setting = bench.setting
    sector, square = (made(setting.mae_batch, setting.pixels) for made in (cones, whole))
    half, full = (echofm.autoencoder(setting, bench.device, part, sector) for part in (0.5, 1.0))
    everywhere = echofm.autoencoder(setting, bench.device, 0.5, square)
    peer, recipe, released = videomae_hf.autoencoder(setting, bench.device)
    sides = [(one, how) for how in bench.precisions for one in (half, full, everywhere, peer)]
    measured = measure(
        bench, setting.mae_batch, setting.mae_turns, [*sides, (recipe, FP32), (released, FP32)]
    )
    of = dict(zip(sides, measured, strict=False))
    what = f"MAE step, {setting.size}, batch {setting.mae_batch}, {MASK_RATIO:.0%} hidden, clips/s"
    rows = []
    for how in bench.precisions:
        ours, decoded, dense, theirs = (of[one, how] for one in (half, full, everywhere, peer))
        rows += [
            _rate(f"{what}: {how}, Hugging Face {how}", ours, theirs, 1.5),
            _rate(f"{what}: {how} full decoder, Hugging Face {how}", decoded, theirs, 1.0),
            _rate(f"{what}: {how} whole square, Hugging Face {how}", dense, theirs),
        ]
    best, bar = of[half, bench.fastest], bench.bar(2.2)
    rows += [
        _rate(f"{what}: {bench.fastest}, published recipe fp32", best, measured[-2], bar),
        _rate(f"{what}: {bench.fastest}, the same as released, 15% hidden", best, measured[-1]),
    ]
    pairs = [(of[half, how], of[peer, how]) for how in bench.precisions]
    return rows + _cost(bench, f"MAE step, {setting.size}", pairs)


def tune_rows(bench: Bench) -> list[Row]:
    """Fine-tuning."""
    setting = bench.setting
    sector, square = (made(setting.tune_batch, setting.pixels) for made in (cones, whole))
    ours, dense = (echofm.predictor(setting, bench.device, one) for one in (sector, square))
    peer, recipe = videomae_hf.predictor(setting, bench.device)
    sides = [(one, how) for how in bench.precisions for one in (ours, dense, peer)]
    measured = measure(bench, setting.tune_batch, setting.tune_turns, [*sides, (recipe, FP32)])
    of = dict(zip(sides, measured, strict=False))
    what = f"fine-tuning step, {setting.size}, batch {setting.tune_batch}, clips/s"
    rows = []
    for how in bench.precisions:
        other = f"STFF-Net on Hugging Face {how}"
        rows += [
            _rate(f"{what}: {how}, {other}", of[ours, how], of[peer, how], 1.35),
            _rate(f"{what}: {how} whole square, {other}", of[dense, how], of[peer, how]),
        ]
    best = of[ours, bench.fastest]
    bar = bench.bar(2.4)
    rows.append(_rate(f"{what}: {bench.fastest}, published recipe fp32", best, measured[-1], bar))
    pairs = [(of[ours, how], of[peer, how]) for how in bench.precisions]
    return rows + _cost(bench, f"fine-tuning step, {setting.size}", pairs)


def memory_rows(bench: Bench, quick: bool) -> list[Row]:
    """Peaks of fine-tuning on whole squares, the most it can need, each in a process of its own."""
    setting = bench.setting
    what = f"fine-tuning step, {setting.size}, batch {setting.tune_batch}, whole square, peak MB"

    def peak(side: Side, how: Precision) -> float:
        command = [sys.executable, "-m", "benchmarks.step_memory", side, how, str(bench.device)]
        done = subprocess.run(
            [*command, *(["--quick"] if quick else [])], check=True, stdout=subprocess.PIPE
        )
        return float(json.loads(done.stdout)["peak"])

    rows, found = [], {}
    for how in bench.precisions:
        found[how] = peak(Side.OURS, how)
        other = f"STFF-Net on Hugging Face {how}"
        rows.append(
            Row(f"{what}: {how}, {other}", found[how], peak(Side.PEER, how), Bar("at most", 0.6))
        )
    best = bench.fastest
    recipe = peak(Side.RECIPE, FP32)
    rows.append(
        Row(f"{what}: {best}, published recipe fp32", found[best], recipe, Bar("at most", 0.6))
    )
    return rows


def _places(setting: Setting) -> Row:
    """Space positions that a clip's sector touches, of those of its square."""
    patch = setting.plan().model.patch
    sectors = (made(setting.tune_batch, setting.pixels) for made in (cones, whole))
    touched, every = (positions_seen(one, patch).float().sum(dim=1).mean() for one in sectors)
    return Row("places that a clip's sector touches, its square has", touched.item(), every.item())


def _rate(what: str, ours: Measured, peer: Measured, least: float | None = None) -> Row:
    return Row(what, ours.clips, peer.clips, Bar("at least", least) if least else None)


def _cost(bench: Bench, what: str, pairs: Sequence[tuple[Measured, Measured]]) -> list[Row]:
    """FLOPs of a step, and the share of the machine's rate that it reaches."""
    ours, peer = pairs[0]
    rows = [Row(f"{what}, GFLOP: ours, Hugging Face", ours.flops / 1e9, peer.flops / 1e9)]
    for pair in pairs:
        how = pair[0].precision
        reached = [one.flops / one.seconds / bench.peaks[how] for one in pair]
        rows.append(Row(f"{what}, share of the matmul peak: {how}, Hugging Face {how}", *reached))
    return rows


def find_peaks(setting: Setting, device: torch.device) -> dict[Precision, float]:
    """FLOP/s of a large product, slowest first; without bf16 where it is not faster than fp32."""
    peaks = {how: matmul_rate(setting.matmul, how, device) for how in (FP32, BF16)}
    return peaks if peaks[BF16] > 1.2 * peaks[FP32] else {FP32: peaks[FP32]}


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="small size at 112 pixels; no bars")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = arguments.parse_args()
    setting = QUICK if options.quick else BASE
    device = find_device(options.device)
    print(f"{machine(('torch', 'timm', 'transformers'))}, {_where(device)}")
    bench = Bench(setting=setting, device=device, peaks=find_peaks(setting, device))
    if BF16 not in bench.peaks:
        print("bf16: not measured, this machine does not multiply it faster than fp32")
    side = setting.matmul
    rows = [
        Row(f"product of {side} x {side}, {how}, GFLOP/s", peak / 1e9)
        for how, peak in bench.peaks.items()
    ]
    rows.append(_places(setting))
    for part in (mae_rows, tune_rows):
        rows += part(bench)
        gc.collect()
    rows += memory_rows(bench, options.quick)
    finish([replace(row, bar=None) for row in rows] if options.quick else rows, options.json)


def _where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
