"""What metrics.json says of a head's layers: zeros among the weights, the gradient, and how silent units hurt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imgreg.heads.ensemble import Arrays
from imgreg.heads.silencing import Silenced
from imgreg.runs.layers import LayerRow
from imgreg.runs.summary import LayerSummary, SilencedUnits

SMALL = 0.01  # of a layer's largest weight; below it a weight could be pruned


def layer_summaries(heads: Sequence[Arrays], *, recorded: Sequence[LayerRow]) -> tuple[LayerSummary, ...]:
    """Count zeros in the kernels of the kept heads, averaged over the heads, and give the last recorded gradient."""
    last = {row.layer: row.gradient_norm for row in recorded}
    names = [name for name, array in heads[0].items() if name.endswith("/kernel") and array.ndim == 2]
    summaries = []
    for name in names:
        sizes = [np.abs(arrays[name]) for arrays in heads]
        layer = name.removesuffix("/kernel")
        summaries.append(
            LayerSummary(
                layer=layer,
                n_units=sizes[0].shape[1],
                n_weights=sizes[0].size,
                zero_weights=float(np.mean([(size == 0).mean() for size in sizes])),
                small_weights=float(np.mean([(size < SMALL * size.max()).mean() for size in sizes])),
                gradient_norm_last=last.get(layer),
            )
        )
    return tuple(summaries)


def silenced_units(found: Sequence[Silenced]) -> tuple[SilencedUnits, ...]:
    """Mean and 95 % interval over the draws."""
    rows = []
    for one in found:
        (loss_low, loss_high), (low, high) = (np.percentile(of, (2.5, 97.5)) for of in (one.losses, one.accuracies))
        rows.append(
            SilencedUnits(
                fraction=one.fraction,
                n_draws=len(one.losses),
                loss=float(np.mean(one.losses)),
                loss_low=float(loss_low),
                loss_high=float(loss_high),
                accuracy=float(np.mean(one.accuracies)),
                accuracy_low=float(low),
                accuracy_high=float(high),
            )
        )
    return tuple(rows)
