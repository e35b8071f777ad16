"""Write the spikes of each neuron as JSON, and read them back.

There may be millions of neurons: their counts are one text, the base64 code of their zlib-deflated
64-bit little-endian integers. ``numpy.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8")``
gives them back.
"""

from __future__ import annotations

import math
import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

from syops.ledger.neurons import NeuronLayer
from syops.show.fields import Fields

_SIZE = 8
"""Bytes of a count."""


def packed(counts: array[int]) -> str:
    """Return integers as text.

    >>> unpacked(packed(array("q", [3, 0, 2**40])), 3)
    array('q', [3, 0, 1099511627776])
    """
    return b64encode(zlib.compress(_little(counts).tobytes())).decode()


def unpacked(text: str, number: int) -> array[int]:
    """Return so many integers from what `packed` gave.

    Raises:
        ValueError: it holds others.
    """
    size, reader = number * _SIZE, zlib.decompressobj()
    try:
        found = reader.decompress(b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(found) != size or not (reader.eof or not size):
        raise ValueError(f"expected {number} integers")
    counts = array("q")
    counts.frombytes(found)
    return _little(counts)


def _little(counts: array[int]) -> array[int]:
    """Swap the bytes of each integer where the machine has the highest ones first."""
    if sys.byteorder == "big":
        counts = array("q", counts)
        counts.byteswap()
    return counts


def neurons_to_json(layers: Sequence[NeuronLayer] | None) -> list[dict[str, Any]] | None:
    """Return the spikes of each neuron, if they were counted."""
    if layers is None:
        return None
    names = ("path", "name", "calls", "entries", "spikes", "graded", "analog", "shapes", "steps")
    return [
        {name: getattr(layer, name) for name in names}
        | {"counts": None if layer.counts is None else packed(layer.counts)}
        for layer in layers
    ]


def neurons_from_json(content: Fields, key: str) -> tuple[NeuronLayer, ...]:
    """Return what `neurons_to_json` gave."""
    layers = content.each(key, _layer)
    if len({layer.path for layer in layers}) < len(layers):
        content.refuse(key, "one entry for each path")
    return layers


def _layer(content: Fields) -> NeuronLayer:
    entries = content.count("entries")
    parts = {name: content.count(name) for name in ("spikes", "graded", "analog")}
    for name, part in parts.items():
        if part > entries:
            content.refuse(name, f"at most entries, {entries}")
    shapes = tuple(_sizes(content, "shapes"))
    if list(shapes) != sorted(set(shapes)):
        content.refuse("shapes", "different shapes, sorted")
    counts = content.optional("counts", lambda c, key: _counts(c, key, shapes))
    if counts is not None and (
        sum(counts) != parts["spikes"]
        or (entries % len(counts) if counts else entries)
        or not all(0 <= count <= entries // len(counts) for count in counts)
    ):
        content.refuse("counts", "at most one spike a time, which add up to spikes")
    steps = content.optional("steps", lambda c, key: tuple(_sizes(c, key)))
    if steps is not None and not (
        all(len(pair) == 2 and pair[1] <= pair[0] for pair in steps)
        and [sum(column) for column in zip(*steps, strict=True)] == [entries, parts["spikes"]]
    ):
        content.refuse("steps", "pairs of entries and spikes, which add up to both")
    return NeuronLayer(
        content.text("path"),
        content.text("name"),
        content.count("calls"),
        entries,
        shapes=shapes,
        counts=counts,
        steps=None if steps is None else tuple((pair[0], pair[1]) for pair in steps),
        **parts,
    )


def _sizes(content: Fields, key: str) -> list[tuple[int, ...]]:
    """Return lists of integers from 0."""
    lists = content.values(key, list)
    if not all(type(size) is int and size >= 0 for sizes in lists for size in sizes):
        content.refuse(key, "lists of integers from 0")
    return [tuple(sizes) for sizes in lists]


def _counts(content: Fields, key: str, shapes: tuple[tuple[int, ...], ...]) -> array[int]:
    if len(shapes) != 1:
        content.refuse(key, "null unless there is one shape")
    try:
        return unpacked(content.text(key), math.prod(shapes[0]))
    except ValueError:
        return content.refuse(key, f"the packed counts of {math.prod(shapes[0])} neurons")
