"""Folders of the pieces of the learning benchmark, and the order of what they need.

A key of all that decides a piece names its folder: another recipe never finds what an older left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.learning_pieces import Piece, Scored
from benchmarks.learning_recipe import Recipe

#: What is written last into the folder of a finished piece.
RESULT = "result.json"


def place_of(piece: Piece, recipe: Recipe, folder: Path) -> Path:
    """The folder of a piece."""
    return folder / f"draw-{piece.draw}" / f"{piece.name}-{key(piece, recipe)[:8]}"


def finished(piece: Piece, recipe: Recipe, folder: Path) -> bool:
    """Is nothing of it left to do?"""
    return (place_of(piece, recipe, folder) / RESULT).exists()


def key(piece: Piece, recipe: Recipe) -> str:
    """SHA-256, in hex, of all that decides what a piece ends with."""
    needs = [key(need, recipe) for need in piece.needs(recipe)]
    text = json.dumps([piece.name, piece.words(recipe), needs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_needs(scored: Iterable[Scored], recipe: Recipe) -> list[Piece]:
    """These and all that they need, each once and behind its needs."""
    found: dict[Piece, None] = {}

    def walk(piece: Piece) -> Iterator[Piece]:
        for need in piece.needs(recipe):
            yield from walk(need)
        yield piece

    for item in scored:
        found.update(dict.fromkeys(walk(item)))
    return list(found)
