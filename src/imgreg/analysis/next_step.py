"""What is the most promising thing to do next? Ordered rules over what a run knows; the first that holds decides.

In: a run's summary. Out: a kind and a sentence. Must not know: how a run came about, how anything is shown.
"""

from __future__ import annotations

import shlex

from imgreg.analysis.baselines import beating
from imgreg.analysis.suspicions import GUESSING, LABEL_NOISE, LEAKAGE, SHORTCUT
from imgreg.analysis.verdict_rules import FITTING_WELL, OVERFITTING, TOO_NOISY, UNDERFITTING, is_hidden_by_lag
from imgreg.heads.from_keras import RECIPE_NAME
from imgreg.paths import shared_command, with_option
from imgreg.runs.earlier import EarlierFindings
from imgreg.runs.summary import Baseline, NextStep, RunSummary

LARGE_GAP = 0.5  # of the validation loss at the kept epoch (imgreg's own choice)
LONGER, FASTER = 3, 10  # times as many epochs, a learning rate so many times higher or lower
NOTHING = EarlierFindings()
CLEAR_GAIN, LITTLE_GAIN = 0.005, 0.01  # of accuracy, as in analysis/learning_curve.py
_SHORT = {"--learning-rate": "--lr", "--image-size": "--imgsz"}
_REGULARIZERS = ("head.", "optimizer.", "augmentation.")  # sections whose settings change how much a head overfits
LATE = 0.8  # of the epochs: a best epoch after it was not the end of learning


def most_promising(run: RunSummary, *, data: str, learning_rate: float, earlier: EarlierFindings = NOTHING) -> NextStep:
    """Choose the next step.

    Parameters
    ----------
    run : RunSummary
    data : str
        The photos, as a command names them.
    learning_rate : float
        The highest that the head was trained with.
    earlier : EarlierFindings
        What learning-curve and label-issues found of the same photos.

    Notes
    -----
    The rules in their order; each finding would mislead the rules after it:

    1. the loss became NaN                         training       (what the verdict says)
    2. the same pictures in both splits            clean split
    3. classes told apart without their photos,    better photos
       where the head does not underfit
    4. labels that look wrong                      better labels
    5. BatchNormalization's statistics lag         training       (what the verdict says)
    6. a head that guesses, curves that look well  more photos
       or are too noisy
    7. a baseline beats the head                   less overfitting where the head fits the train photos better than the
                                                   baseline does; else, if not overfitting, stronger head
    8. the verdict is underfitting                 training       (what the verdict says)
    9. the verdict is overfitting                  less overfitting (likewise); more photos for the recipe regularized,
                                                   which already has what the verdict advises
    10. the verdict is too noisy to tell           clearer answer (likewise)
    11. the best epoch was the last                training
    12. learning-curve found that photos help      more photos
    13. it found that they hardly help             better labels where label-issues contradicts some, else features
    14. a large gap at the kept epoch              more photos: neither head nor baseline makes more of these
    15. otherwise                                  better features: head and baseline make of these what they can
    """
    verdict, photos = run.verdict, shared_command(shlex.quote(data))
    misled = _misleading(run, photos=photos, learning_rate=learning_rate)
    if misled is not None:
        return misled
    better = beating(run.baselines)
    overfits = verdict.label == OVERFITTING
    if better is not None and not (overfits and run.kept.train_loss >= better.train_loss):
        return _against(run, better, photos=photos, learning_rate=learning_rate)
    if verdict.label in (UNDERFITTING, OVERFITTING, TOO_NOISY):
        return _after_verdict(run, photos=photos, learning_rate=learning_rate)
    if run.best_epoch == run.epochs_run:
        option, value = _longer(run)
        return NextStep(
            kind="training",
            sentence="Longer training: the best epoch was the last. Try "
            f"`{_again(run, photos=photos, option=option, value=value)}`.",
        )
    return _beyond_the_head(run, photos=photos, earlier=earlier)


def _misleading(run: RunSummary, *, photos: str, learning_rate: float) -> NextStep | None:
    """Rules 1 to 6: what keeps the curves and scores from being believed."""
    verdict = run.verdict
    suspected = {one.kind for one in verdict.suspicions}
    if "broken_epoch" in verdict.evidence:
        command = _again(run, photos=photos, option="--learning-rate", value=f"{learning_rate / FASTER:g}")
        return NextStep(kind="training", sentence=f"{verdict.next_step} Try `{command}`.")
    if LEAKAGE in suspected:
        return NextStep(
            kind="clean split",
            sentence="A clean split: pictures in both train and validation (duplicates.csv) inflate every score here. "
            f"`imgreg check {photos} --fix clean.csv` writes a manifest without duplicates.",
        )
    if SHORTCUT in suspected and verdict.label != UNDERFITTING:
        step = next(one.next_step for one in verdict.suspicions if one.kind == SHORTCUT)
        return NextStep(
            kind="better photos", sentence=f"Better photos: {step} `imgreg check {photos}` measures it again."
        )
    if LABEL_NOISE in suspected:
        return NextStep(
            kind="better labels",
            sentence="Better labels: some look wrong, which distorts both the head and its scores. `imgreg "
            f"label-issues {photos}` ranks the photos to review.",
        )
    if is_hidden_by_lag(verdict.evidence):
        return NextStep(kind="training", sentence=verdict.next_step)
    if GUESSING in suspected and verdict.label in (FITTING_WELL, TOO_NOISY):
        return NextStep(
            kind="more photos",
            sentence="More photos, or others: the head is not clearly better than a constant answer. Check that the "
            "photos show what distinguishes the classes.",
        )
    return None


def _against(run: RunSummary, better: Baseline, *, photos: str, learning_rate: float) -> NextStep:
    """For a head that a baseline on the same features beats."""
    fits = f"(train loss {run.kept.train_loss:.3f}, the baseline's {better.train_loss:.3f})"
    if run.kept.train_loss < better.train_loss:
        slower = _again(run, photos=photos, option="--learning-rate", value=f"{learning_rate / FASTER:g}")
        return NextStep(
            kind="less overfitting",
            sentence=f"Less overfitting: the head fits the train photos better than the baseline does {fits}, but "
            f"new ones worse. Try a lower learning rate (`{slower}`), more regularization or a smaller head.",
        )
    if run.best_epoch >= LATE * run.epochs_run:
        how, (option, value) = "Train longer", _longer(run)
    else:
        how, (option, value) = "Raise the learning rate", ("--learning-rate", f"{learning_rate * FASTER:g}")
    return NextStep(
        kind="stronger head",
        sentence=f"A stronger fit: the head fits even the train photos worse than the baseline does {fits}. {how} "
        f"(`{_again(run, photos=photos, option=option, value=value)}`) or regularize less.",
    )


def _after_verdict(run: RunSummary, *, photos: str, learning_rate: float) -> NextStep:
    """Rules 8 to 10: what the verdict says, unless the head overfits with everything that it would advise."""
    verdict = run.verdict
    unchanged = not any(setting.startswith(_REGULARIZERS) for setting in run.overrides)
    if verdict.label == OVERFITTING and run.recipe == "regularized" and unchanged:
        return NextStep(
            kind="more photos",
            sentence="More photos: the recipe regularized already has augmentation, dropout, L2 and a falling learning "
            f"rate. `imgreg learning-curve {photos}` estimates the gain from more photos.",
        )
    kinds = {UNDERFITTING: "training", OVERFITTING: "less overfitting", TOO_NOISY: "clearer answer"}
    command = _verdict_command(run, photos=photos, learning_rate=learning_rate)
    return NextStep(kind=kinds[verdict.label], sentence=f"{verdict.next_step} Try `{command}`.")


def _verdict_command(run: RunSummary, *, photos: str, learning_rate: float) -> str:
    """The command for what the verdict says to do next."""
    advice, label = run.verdict.next_step, run.verdict.label
    option, value = "--learning-rate", f"{learning_rate / FASTER:g}"
    if advice.startswith("Train for more epochs"):
        option, value = _longer(run)
    elif label == UNDERFITTING:
        value = f"{learning_rate * FASTER:g}"
    elif label == OVERFITTING and run.recipe == "plain":
        return f"imgreg compare {photos}"
    elif label == TOO_NOISY and not advice.startswith("Lower"):
        if run.n_folds:
            return f"imgreg compare {photos} --repeats 10"
        option, value = "--folds", "5"
    return _again(run, photos=photos, option=option, value=value)


def _longer(run: RunSummary) -> tuple[str, str]:
    """The option that lets a training go on for longer, and its value: more epochs do not where it stopped early."""
    if run.stopped_early is not None:
        return "--patience", f"{LONGER * run.stopped_early.patience_epochs}"
    return "--epochs", f"{LONGER * run.epochs_run}"


def _beyond_the_head(run: RunSummary, *, photos: str, earlier: EarlierFindings) -> NextStep:
    kept, gain = run.kept, earlier.gain
    if gain is not None and gain.gain_low > CLEAR_GAIN:
        return NextStep(
            kind="more photos",
            sentence=f"More photos: by learning-curve, {gain.n_train} train photos would be worth "
            f"{100 * gain.gain:+.1f} points of accuracy (95 % interval {100 * gain.gain_low:+.1f} to "
            f"{100 * gain.gain_high:+.1f}).",
        )
    if gain is not None and gain.gain_high < LITTLE_GAIN:
        hardly = f"by learning-curve, {gain.n_train} train photos of the same kind would hardly help"
        if earlier.n_contradicted:
            return NextStep(
                kind="better labels",
                sentence=f"Better labels: {hardly}, and label-issues contradicts {earlier.n_contradicted} labels. "
                "Review them from the top of its list.",
            )
        return NextStep(kind="better features", sentence=f"Better features: {hardly}. {_wider(run, photos=photos)}")
    neither = ", and logistic regression on the same features is not clearly better" if run.baselines else ""
    if kept.gap > LARGE_GAP * kept.val_loss:
        return NextStep(
            kind="more photos",
            sentence=f"More photos: the head fits its train photos (loss {kept.train_loss:.3f}) far better than new "
            f"ones ({kept.val_loss:.3f}){neither}. `imgreg learning-curve {photos}` estimates the gain from more "
            "photos.",
        )
    return NextStep(
        kind="better features",
        sentence=f"Better features: the head does nearly as well on new photos (loss {kept.val_loss:.3f}) as on its "
        f"train photos ({kept.train_loss:.3f}){neither}. {_wider(run, photos=photos)}",
    )


def _wider(run: RunSummary, *, photos: str) -> str:
    """What could give better features: other weights, then VGG16's own last block, then larger images."""
    tuned = _again(run, photos=photos, option="--finetune", value="block5")
    if run.weights == "starter":
        other = _again(run, photos=photos, option="--weights", value="imagenet")
        without = "" if run.finetuned_block else f" Without them, fine-tuning VGG16's last block may help (`{tuned}`)."
        return f"For a better score, use the ImageNet weights instead of the starter weights (`{other}`).{without}"
    if run.finetuned_block is None:
        return f"Fine-tuning VGG16's last block may give a better score: try `{tuned}`."
    larger = _again(run, photos=photos, option="--image-size", value=str(min(2 * run.image_size, 1024)))
    return f"For a better score, use images larger than {run.image_size} px (`{larger}`)."


def _again(run: RunSummary, *, photos: str, option: str, value: str) -> str:
    """The command that made the run, with one option changed and no name; a plain one where it was no train command.

    A head that was handed in as a Keras model has no command: then it is the call of `Workspace.train`.
    """
    if run.recipe == RECIPE_NAME:
        argument = option.removeprefix("--").replace("-", "_")
        given = repr(value) if argument == "finetune" else value
        return f"ws.train({shlex.split(photos)[0]!r}, head=..., {argument}={given})"
    parts = shlex.split(run.command)
    if parts[:2] != ["imgreg", "train"]:
        return f"imgreg train {photos} --recipe {shlex.quote(run.recipe)} {option} {value}"
    return shared_command(with_option(run.command, option, value, alias=_SHORT.get(option, "")))
