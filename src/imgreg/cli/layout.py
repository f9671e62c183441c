"""How help pages are laid out: commands by what they are for, a training's options by topic, the common ones first."""

from __future__ import annotations

import click

COMMAND_GROUPS = {
    "Data": {
        "check": "Find problems in a photo dataset.",
        "preview": "Preview augmented photos.",
        "extract": "Compute the features of photos, for later commands.",
        "label-issues": "Rank the photos that are probably mislabelled.",
        "learning-curve": "Estimate the gain from more training photos.",
    },
    "Train": {
        "lr-find": "Find a range of useful learning rates.",
        "train": "Train a regularized head on a folder of photos.",
        "compare": "Train with and without regularization.",
        "study": "Compare regularization techniques on your photos.",
        "tune": "Search for a better recipe, and score the search.",
    },
    "Understand": {
        "report": "Rebuild a report, and open it with --open.",
        "explain": "Show which parts of a photo support a class.",
    },
    "Use": {
        "predict": "Classify photos with a trained run.",
        "evaluate": "Score a run, or a voting ensemble, on labelled photos.",
        "export": "Write a run for other runtimes: ONNX, LiteRT, OpenVINO, TensorFlow.",
        "serve": "Use the runs in a browser, or over HTTP.",
    },
    "Manage": {
        "runs": "List what is in models/.",
        "recipes": "List the recipes, or print one.",
        "verify": "Check a run's integrity and reproduce it.",
        "cache": "Show, verify or clear the cache.",
        "help": "Show the help of a command.",
    },
}

_FEW = 12  # options that need no headings
_TOPICS = {
    "Common options": (
        *(
            "recipe",
            "recipes",
            "topics",
            "repeats",
            "folds",
            "more",
            "sweeps",
            "trials",
            "seconds",
            "space",
            "inner_folds",
        ),
        *("epochs", "learning_rate", "dropout", "augment", "weights", "image_size", "name"),
    ),
    "Head and training": (
        "overrides",
        "batch_size",
        "patience",
        "l2",
        "views",
        "finetune",
        "seed",
        "resume",
        "workers",
        "ray",
    ),
    "Photos and split": ("val_fraction", "split_seed", "max_bad", "allow_leakage", "sanity_baselines"),
    "VGG16 and its features": ("engine", "precision", "preprocessing", "stored", "cache_bytes"),
    "Curves": ("log_epochs", "smooth", "xlim", "ylim", "tensorboard"),
}


class GroupedCommand(click.Command):
    """A command whose many options are listed by topic."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        if len(options) <= _FEW:
            super().format_options(ctx, formatter)
            return
        ranked = {name: rank for rank, name in enumerate(name for names in _TOPICS.values() for name in names)}
        options.sort(key=lambda option: ranked.get(str(option.name), len(ranked)))
        for heading, names in (_TOPICS | {"Output": ()}).items():
            rows = [
                record
                for option in options
                if (option.name in names if names else option.name not in ranked)
                and (record := option.get_help_record(ctx)) is not None
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
