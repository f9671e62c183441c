"""Are the verdicts right? Cases with a planted cause, each through real head training, and what imgreg says of them.

usage: python benchmarks/verdict.py [N_OF_EACH_KIND [FIRST_SEED]]     (default 40, from seed 10,000: the scoring cases)

Features are drawn: a class signal, common causes that have nothing to do with the class, noise, then ReLU, as VGG16's
last block gives. A case is planted by its cause (a head too big for its photos, too small for its task, right, labels
flipped, twins of train photos among the validation photos, a tiny validation set). What a cause brought about is
checked on 4,000 further photos that nobody else sees: a case whose cause did not work (a big head that happens not to
overfit) is drawn anew, and counted.

The rules were tuned on seeds below 10,000 (`verdict.py 20 0` runs such cases). Needs 15 to 30 minutes on 2 cores.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.label_noise import LabelNoise, estimate_label_noise
from imgreg.analysis.split_duplicates import SplitDuplicates, find_split_duplicates
from imgreg.analysis.suspicions import LABEL_NOISE, LEAKAGE
from imgreg.analysis.verdict import judge
from imgreg.analysis.verdict_rules import FITTING_WELL, OVERFITTING, TOO_NOISY, UNDERFITTING
from imgreg.config import Recipe
from imgreg.heads.forward import cross_entropies
from imgreg.heads.views import Labelled
from imgreg.runs.history import History
from imgreg.runs.summary import Verdict

SHAPE = (2, 2, 64)
N_HIDDEN = 4000
PORTION = 10
SCORING = 10_000  # the first seed of the scoring cases
CLOSE = "close to overfitting"  # a sentence under the label "fitting well"
EXPECTED = {
    "too big": OVERFITTING,
    "too small": UNDERFITTING,
    "right": FITTING_WELL,
    "noisy labels": LABEL_NOISE,
    "leaked twins": LEAKAGE,
    "tiny validation set": TOO_NOISY,
    "hard task": FITTING_WELL,  # little to learn, and that is learned: no larger head would do better
    "slow rise": CLOSE,  # of 3 to 12 % of the loss
}


@dataclass(frozen=True)
class World:
    """What photos of two classes have in common: how latent causes become features."""

    mixing: NDArray[np.float64]  # (n_latent, n_features)
    offset: NDArray[np.float64]
    signal: float  # distance of the class means, in standard deviations
    crossed: bool  # the class is the product of two causes' signs: nothing that a line could tell apart

    def draw(self, n: int, draw: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(n, n_latent) causes and (n,) classes"""
        labels = np.arange(n) % 2
        causes = draw.normal(size=(n, len(self.mixing)))
        sign = 2.0 * labels - 1
        if self.crossed:
            first = draw.choice([-1.0, 1.0], n)
            causes[:, 0], causes[:, 1] = (
                0.5 * causes[:, 0] + self.signal * first,
                0.5 * causes[:, 1] + self.signal * first * sign,
            )
        else:
            causes[:, 0] += self.signal / 2 * sign
        return causes, labels

    def photograph(self, causes: NDArray[np.float64], draw: np.random.Generator, *, noise: float = 0.5) -> NDArray:
        """(n, 2, 2, 64) float16, as a frozen base would describe photos of these causes"""
        raw = causes @ self.mixing + self.offset + noise * draw.normal(size=(len(causes), self.mixing.shape[1]))
        return np.maximum(raw, 0).reshape(-1, *SHAPE).astype(np.float16)


@dataclass(frozen=True)
class Case:
    """One training: what a run would keep, and what only the benchmark knows."""

    kind: str
    seed: int
    history: History
    val_labels: NDArray[np.int64]
    duplicates: SplitDuplicates
    noise: LabelNoise | None
    hidden_losses: NDArray[np.float64]  # by epoch, on photos that were not validated on, with true labels


def world(draw: np.random.Generator, *, signal: float, crossed: bool) -> World:
    n_latent = int(draw.integers(20, 60))
    weights = np.concatenate([[1.0, 1.0], np.geomspace(1.2, 0.2, n_latent - 2)])
    mixing = draw.normal(size=(n_latent, int(np.prod(SHAPE)))) * weights[:, None] / np.sqrt(n_latent / 4)
    return World(mixing, draw.normal(0, 0.5, mixing.shape[1]), signal, crossed)


def plant(kind: str, seed: int) -> Case:
    """Draw photos, train a head on them, and keep what it did."""
    draw = np.random.default_rng([seed, list(EXPECTED).index(kind)])
    n_train, n_val = int(draw.integers(250, 700)), int(draw.integers(60, 200))
    signal, crossed = float(draw.uniform(2.5, 5.0)), False
    head = {"units": [int(draw.choice([16, 32, 64]))], "dropout": float(draw.choice([0.0, 0.3])), "l2": 1e-3}
    rate, epochs = float(draw.choice([2e-4, 4e-4])), int(draw.integers(40, 70))
    flipped, duplicates = 0.0, 0.0
    if kind == "too big":
        n_train, signal = int(draw.integers(60, 160)), float(draw.uniform(1.0, 2.2))
        head = {"units": [int(draw.choice([128, 256, 512]))] * int(draw.integers(1, 4)), "activation": "elu"}
        rate = 1e-3
    elif kind == "too small":
        why = str(draw.choice(["capacity", "penalty", "too short"]))
        if why == "capacity":
            head, crossed, signal = {"units": []}, True, 1.0
        elif why == "penalty":
            head, rate = {"units": [16], "l2": 10.0}, 1e-3
        else:
            rate, epochs = 2e-5, int(draw.integers(5, 12))
            head = {"units": [16]}
    elif kind == "noisy labels":
        flipped = float(draw.uniform(0.15, 0.3))
        if draw.random() < 0.5:
            head, rate = {"units": [256]}, 1e-3
    elif kind == "leaked twins":
        duplicates = float(draw.uniform(0.15, 0.6))
        if draw.random() < 0.5:
            head, rate = {"units": [256]}, 1e-3
    elif kind == "tiny validation set":
        n_val = int(draw.integers(4, 16))
    elif kind == "hard task":
        n_train, n_val, signal = (
            int(draw.integers(1500, 3000)),
            int(draw.integers(300, 800)),
            float(draw.uniform(0.9, 1.4)),
        )
        head, rate, epochs = {"units": [8], "dropout": 0.3, "l2": 3e-3}, 1e-4, int(draw.integers(30, 50))
    elif kind == "slow rise":
        n_train, n_val, signal = (
            int(draw.integers(700, 1500)),
            int(draw.integers(500, 1000)),
            float(draw.uniform(1.5, 2.2)),
        )
        head, rate, epochs = {"units": [32]}, 2e-4, int(draw.integers(40, 80))

    here = world(draw, signal=signal, crossed=crossed)
    train_causes, train_labels = here.draw(n_train, draw)
    val_causes, val_labels = here.draw(n_val, draw)
    hidden_causes, hidden_labels = here.draw(N_HIDDEN, draw)
    train_features = here.photograph(train_causes, draw)
    val_features = here.photograph(val_causes, draw)
    if duplicates:
        again = draw.random(n_val) < duplicates
        rows = draw.choice(n_train, n_val, replace=False)
        copied = train_features.astype(np.float64) * (1 + draw.normal(0, 0.1, train_features.shape))
        val_features[again], val_labels[again] = copied[rows[again]].astype(np.float16), train_labels[rows[again]]
    if flipped:
        train_labels = np.where(draw.random(n_train) < flipped, 1 - train_labels, train_labels)
        val_labels = np.where(draw.random(n_val) < flipped, 1 - val_labels, val_labels)
    recipe = Recipe.model_validate(
        {
            "name": kind,
            "head": {"pool": "flatten", **{"dropout": 0.0, "l2": 0.0, **head}} if head["units"] else head,
            "optimizer": {"learning_rate": rate},
            "training": {"epochs": epochs},
        }
    )
    seen = np.concatenate([val_features, here.photograph(hidden_causes, draw)])
    history = train(recipe, train_features, train_labels, seen, np.concatenate([val_labels, hidden_labels]), seed=seed)
    hidden = [cross_entropies(p[n_val:], hidden_labels).mean() for p in history.val_probabilities]
    return Case(
        kind,
        seed,
        history=only_first(history, n_val, labels=val_labels),
        val_labels=val_labels,
        duplicates=find_split_duplicates(described(val_features), described(train_features)),
        noise=estimate_label_noise(
            described(np.concatenate([train_features, val_features])), np.concatenate([train_labels, val_labels])
        ),
        hidden_losses=np.array(hidden),
    )


def described(features: NDArray) -> NDArray[np.float64]:
    return features.mean(axis=(1, 2), dtype=np.float64)


def train(
    recipe: Recipe,
    train_features: NDArray,
    train_labels: NDArray[np.int64],
    val_features: NDArray,
    val_labels: NDArray[np.int64],
    *,
    seed: int,
) -> History:
    from imgreg.heads.fit import fit_head
    from imgreg.heads.training_curves import SplitFeatures

    train = Labelled(lambda _, rows: train_features[rows], train_labels)
    val = Labelled(lambda _, rows: val_features[rows], val_labels)
    return fit_head(recipe, SplitFeatures(train, val, 2), seed=seed).history


def only_first(history: History, n_val: int, *, labels: NDArray[np.int64]) -> History:
    """The history as it would be, had only the first validation photos been there."""
    probabilities = history.val_probabilities[:, :n_val]
    rows = tuple(
        replace(
            row,
            val_loss=float(cross_entropies(p, labels).mean()),
            val_accuracy=float((p.argmax(axis=1) == labels).mean()),
        )
        for row, p in zip(history.epochs, probabilities, strict=True)
    )
    return History(rows, probabilities, history.train_true_class)


def came_about(case: Case) -> bool:
    """Whether the cause worked, by the photos that only the benchmark sees. Guessing costs ln 2."""
    losses, train_losses = case.hidden_losses, case.history.column("train_loss")
    rise = losses[-1] / losses.min()
    fifth = max(len(losses) // 5, 1)
    falling = losses[-1 - fifth] / losses[-1]
    if case.kind == "too big":
        return bool(rise >= 1.25 and train_losses[-1] < 0.5 * np.log(2))
    if case.kind == "too small":
        return bool(rise < 1.05 and (train_losses[-1] > 0.85 * np.log(2) or falling > 1.25))
    if case.kind == "hard task":
        return bool(rise < 1.03 and train_losses[-1] > 0.75 * np.log(2) and falling < 1.03)
    if case.kind == "slow rise":
        return bool(1.03 <= rise <= 1.12 and train_losses[-1] < train_losses[int(np.argmin(losses))])
    if case.kind in ("right", "tiny validation set"):
        return bool(rise < 1.03 and losses[-1] < 0.6 * np.log(2) and falling < 1.07)
    return True


def cases(kind: str, n: int, first_seed: int) -> Iterator[tuple[Case, int]]:
    """n cases whose cause worked, each with the number drawn in vain before it."""
    seed, vain = first_seed, 0
    while n:
        case = plant(kind, seed)
        seed += 1
        if came_about(case):
            yield case, vain
            n, vain = n - 1, 0
        else:
            vain += 1


def said(verdict: Verdict) -> str:
    """The first suspicion, else the verdict's label, or that it is close to overfitting."""
    if verdict.suspicions:
        return verdict.suspicions[0].kind
    return CLOSE if CLOSE in verdict.sentence else verdict.label


def is_right(kind: str, word: str) -> bool:
    """Whether a verdict is what was planted; close to overfitting is a kind of fitting well, and a slow rise may be
    called overfitting."""
    if kind == "slow rise":
        return word in (CLOSE, OVERFITTING)
    return (FITTING_WELL if word == CLOSE else word) == EXPECTED[kind]


def run_portion(job: tuple[str, int, int]) -> tuple[str, list[tuple[int, str, str]], int]:
    kind, n, first_seed = job
    found, vain = [], 0
    for case, missed in cases(kind, n, first_seed):
        verdict = judge(case.history, val_labels=case.val_labels, duplicates=case.duplicates, noise=case.noise)
        found.append((case.seed, said(verdict), verdict.sentence))
        vain += missed
    return kind, found, vain


def main(n: int, first_seed: int) -> None:
    jobs = [
        (kind, min(PORTION, n - start), first_seed + 1000 * number)
        for kind in EXPECTED
        for number, start in enumerate(range(0, n, PORTION))
    ]
    table: dict[str, Counter[str]] = {kind: Counter() for kind in EXPECTED}
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # the processes share the cores
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for kind, found, vain in pool.map(run_portion, jobs):
            table[kind].update(word for _, word, _ in found)
            for seed, word, sentence in found:
                if not is_right(kind, word):
                    print(f"  {kind}, seed {seed}: {word}. {sentence}", file=sys.stderr)
            print(f"{kind}: {len(found)} cases, {vain} drawn in vain", file=sys.stderr, flush=True)
    words = list(dict.fromkeys(EXPECTED.values()))
    right = sum(n_said for kind, counts in table.items() for word, n_said in counts.items() if is_right(kind, word))
    healthy = table["right"]["overfitting"] / n
    print(json.dumps({"n": n * len(table), "right": right, "healthy_called_overfitting": healthy, "table": table}))
    print("scoring cases" if first_seed >= SCORING else "tuning cases")
    print(f"{'planted':22}" + "".join(f"{word[:16]:>17}" for word in words))
    for kind, counts in table.items():
        print(f"{kind:22}" + "".join(f"{counts[word]:17}" for word in words))
    print(f"right: {right} of {n * len(table)} ({right / (n * len(table)):.1%})")
    print(f"healthy called overfitting: {healthy:.1%}")


if __name__ == "__main__":
    arguments = [int(value) for value in sys.argv[1:]]
    main(*(arguments + [40, SCORING][len(arguments) :]))
