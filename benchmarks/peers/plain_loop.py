"""The least that federated averaging takes: one process, a running sum."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.workloads import ROUNDS, SITES, start, train


def main(name: str) -> None:
    weights = start(name)
    for _ in range(ROUNDS):
        total = {key: np.zeros_like(value) for key, value in weights.items()}
        for site in range(SITES):
            for key, value in train(name, weights, site).items():
                total[key] += value
        weights = {key: value / SITES for key, value in total.items()}
    print(float(sum(value.mean(dtype=float) for value in weights.values())))


if __name__ == "__main__":
    main(sys.argv[1])
