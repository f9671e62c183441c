"""What happened inside a head while it learned: a row for each Dense layer and recorded epoch, as layers.csv.

Plain numbers. Must not know: Keras, and how they were measured (heads/monitor.py).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One Dense layer at the end of one epoch.

    Attributes
    ----------
    gradient_norm : float
        L2 norm of the kernel's gradient of the cross-entropy, on one fixed batch of train photos, without dropout and
        weight penalties.
    weight_p5 ... : float
        Percentiles of the kernel's weights (of 20,000, evenly spaced, where there are more).
    zero_weights : float
        Fraction of these weights that are exactly 0.
    output_p5 ... : float
        Percentiles of the layer's outputs after the activation, on the same batch.
    zero_outputs : float
        Fraction of these outputs that are exactly 0.
    """

    epoch: int
    layer: str
    gradient_norm: float
    weight_p5: float
    weight_p25: float
    weight_p50: float
    weight_p75: float
    weight_p95: float
    zero_weights: float
    output_p5: float
    output_p25: float
    output_p50: float
    output_p75: float
    output_p95: float
    zero_outputs: float


def layers_of_csv(lines: Iterable[str]) -> tuple[LayerRow, ...]:
    """Read the lines of layers.csv. raises KeyError, TypeError or ValueError on any other table"""
    rows = tuple(_row(row) for row in csv.DictReader(lines))
    layers = list(dict.fromkeys(row.layer for row in rows))
    epochs = list(dict.fromkeys(row.epoch for row in rows))
    if [(row.epoch, row.layer) for row in rows] != [(epoch, layer) for epoch in epochs for layer in layers]:
        raise ValueError("layers.csv: expected a row for each layer at each epoch")
    if epochs != sorted(epochs) or not all(math.isfinite(v) for row in rows for v in astuple(row)[2:]):
        raise ValueError("layers.csv: found a value that is not a finite number, or epochs out of order")
    return rows


def _row(row: dict[str, str]) -> LayerRow:
    names = [field.name for field in fields(LayerRow)]
    figures = {name: float(row[name]) for name in names if name not in ("epoch", "layer")}
    return LayerRow(epoch=int(row["epoch"]), layer=row["layer"], **figures)


@dataclass(frozen=True)
class LayerValues:
    """A sample of one layer's weights and outputs, from which histograms are drawn, and its gradient's norm."""

    weights: Float32Array
    outputs: Float32Array
    gradient_norm: float
