"""The search for a recipe: trials are proposed in batches, scored fold by fold, and reported in their order.

In: a space, and a function that scores candidates on a fold. Out: the trials. Must not know: what candidates are
trained on. Optuna is imported when a search begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from imgreg.analysis.tune import DROP_Z, Losses, SearchTrial, best_trial, clearly_worse, estimated_loss
from imgreg.recipes import typed
from imgreg.recipes.search_space import Choices, Space, contains

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

BATCH = 4  # trials that are proposed together, whatever the number of processors: else a search would depend on it
DIVERGED_LOSS = 100.0  # nats, as reported to the sampler
LEAST_FOR_IMPORTANCE = 20  # trials
_IN_THE_TOP = 5  # trials among the best that PED-ANOVA compares with all

Sampler = Callable[[int], "BaseSampler"]  # of Optuna, for a seed


@dataclass(frozen=True)
class Candidate:
    """A recipe that is proposed: its number, 0 for the default recipe, and the values that it changes of that."""

    number: int
    values: Mapping[str, Any]


Score = Callable[[Sequence[Candidate], int], Sequence[Losses | None]]  # of a fold, counted from 0


@dataclass(frozen=True)
class Budget:
    """How much a search may train.

    Attributes
    ----------
    n_trials, n_folds : int
        Trials at most, and the folds that each is scored on.
    drop_z : float
        Standard errors by which a trial must be worse than the best before its batch to be spared the other folds.
    is_over : callable
        Asked between batches; with True the search ends early.
    """

    n_trials: int
    n_folds: int
    drop_z: float = DROP_Z
    is_over: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes
    ----------
    importances : dict of str to float
        Each setting's share in what makes a trial one of the best (PED-ANOVA, sum 1), the largest first; empty for few
        trials.
    """

    trials: tuple[SearchTrial, ...]
    importances: dict[str, float]

    @property
    def best(self) -> SearchTrial:
        return best_trial(self.trials)


def tpe(seed: int) -> BaseSampler:
    """Bergstra et al. 2011's tree-structured Parzen estimator."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def search(
    space: Space,
    score: Score,
    *,
    default: Mapping[str, Any],
    sampler: BaseSampler,
    budget: Budget,
) -> Search:
    """Try the default recipe and then what the sampler proposes.

    The same seed of the sampler and the same scores give the same trials: batches have one size, and are reported in
    the order of their trials.

    Parameters
    ----------
    score : callable
        Gets candidates and the number of a fold; returns the loss of each photo of that fold by each candidate's head,
        None for one that diverged. For the default recipe, which others are measured against, it raises instead.
    default : mapping
        The default recipe's values, the first trial. The sampler learns of it only if they lie in the space.

    References
    ----------
    Bergstra et al. 2011 (tree-structured Parzen estimator); Birattari et al. 2002 (racing); Watanabe et al. 2023,
    arXiv:2304.10255 (PED-ANOVA).
    """
    study, asked_for = _study(sampler), distributions(space)
    is_inside = contains(space, default)
    trials: list[SearchTrial] = []
    of_best: list[Losses] | None = None  # the best trial's photos, by fold
    while len(trials) < budget.n_trials and not (trials and budget.is_over()):
        first = len(trials)
        if first == 0 and is_inside:
            study.enqueue_trial({key: _typed(space, key, value) for key, value in default.items()})
        numbers = range(first, min(first + BATCH, budget.n_trials))
        asked = {n: study.ask(asked_for) for n in numbers if n or is_inside}
        batch = [Candidate(n, _values(space, asked[n].params) if n else default) for n in numbers]
        found = _scored(batch, score, budget=budget, of_best=of_best)
        against = found[0] if of_best is None else of_best
        for candidate in batch:
            trials.append(_trial(candidate, found[candidate.number], n_folds=budget.n_folds, best=against))
            if candidate.number in asked:
                loss = trials[-1].loss
                study.tell(asked[candidate.number], DIVERGED_LOSS if loss is None else loss)
            if best_trial(trials) is trials[-1]:
                of_best = found[candidate.number]
    return Search(tuple(trials), _importances(study))


def _scored(
    batch: Sequence[Candidate], score: Score, *, budget: Budget, of_best: list[Losses] | None
) -> dict[int, list[Losses]]:
    """Each candidate's losses by fold; fewer than n_folds for one that was dropped or diverged."""
    found: dict[int, list[Losses]] = {candidate.number: [] for candidate in batch}
    left = list(batch)
    for fold in range(budget.n_folds):
        kept = []
        for candidate, losses in zip(left, score(left, fold), strict=True):
            own = found[candidate.number]
            if losses is None:
                own.clear()
                continue
            own.append(losses)
            best = of_best[: fold + 1] if of_best else found[0]
            if candidate.number == 0 or not clearly_worse(own, best, z=budget.drop_z):
                kept.append(candidate)
        if not (left := kept):
            break
    return found


def _trial(candidate: Candidate, found: Sequence[Losses], *, n_folds: int, best: Sequence[Losses]) -> SearchTrial:
    means = tuple(float(losses.mean()) for losses in found)
    if len(found) == n_folds:
        return _of(candidate, means, fmean(means), "complete")
    if found:
        return _of(candidate, means, estimated_loss(found, best), "dropped")
    return _of(candidate, means, None, "diverged")


def _of(
    candidate: Candidate,
    losses: tuple[float, ...],
    loss: float | None,
    status: Literal["complete", "dropped", "diverged"],
) -> SearchTrial:
    return SearchTrial(number=candidate.number, values=dict(candidate.values), losses=losses, loss=loss, status=status)


def _study(sampler: BaseSampler) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=sampler)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space as Optuna has it: choices by how they are typed."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    for key, one in space.items():
        if isinstance(one, Choices):
            made[key] = CategoricalDistribution(one.labels)
        elif one.whole:
            made[key] = IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            made[key] = FloatDistribution(one.low, one.high, log=one.log)
    return made


def _typed(space: Space, key: str, value: Any) -> Any:
    """A value as Optuna has it: choices by how they are typed."""
    return typed(value) if isinstance(space[key], Choices) else value


def _values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's values as a recipe has them."""
    return {
        key: one.values[one.labels.index(params[key])] if isinstance(one, Choices) else one.nearest(params[key])
        for key, one in space.items()
    }


def _importances(study: Study) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    n = len(study.trials)
    if n < LEAST_FOR_IMPORTANCE:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, _IN_THE_TOP / n))
    return {key: round(value, 4) for key, value in get_param_importances(study, evaluator=evaluator).items()}
