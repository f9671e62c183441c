"""Options of a training's settings. Defaults, ranges and help texts come from imgreg.config."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import ValidationError

from imgreg import config
from imgreg.cli.flags import Printed, cache_size_option, models_option, name_option, result_options, resume_option
from imgreg.config import CHEAP_BASELINES, SANITY_BASELINES
from imgreg.config.base import Config
from imgreg.errors import UsageError
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe, validation_text
from imgreg.recipes.settings import FOLDS, RECIPE_OPTIONS, SETTINGS_OPTIONS
from imgreg.session import Session

F = TypeVar("F", bound=Callable[..., Any])
COMPARED = ("plain", "regularized")  # by default
_ALIASES = {"learning_rate": ("--lr",), "batch_size": ("--batch",), "image_size": ("--imgsz",)}
_OF_HEADS = ("epochs", "batch_size", "patience", "learning_rate", "dropout", "l2")
_OF_SPLITS = ("val_fraction", "split_seed", "allow_leakage")
_BASE_OPTIONS = ("weights", "image_size", "engine", "precision")


def settings_options(function: F) -> F:
    """Every option that recipes.settings.build_settings reads, except the recipe and --folds."""
    return _settings_options(function, RECIPE_OPTIONS | SETTINGS_OPTIONS)


def features_options(function: F) -> F:
    """Those of `settings_options` that cached features depend on."""
    wanted = RECIPE_OPTIONS | SETTINGS_OPTIONS
    return _settings_options(
        function, {name: where for name, where in wanted.items() if name not in _OF_HEADS + _OF_SPLITS}
    )


def _settings_options(function: F, wanted: Mapping[str, tuple[type[Config], str]]) -> F:
    augment = click.option(
        "--augment",
        metavar="none|keras|albumentations|FILE",
        help="Augmentation backend, or a pipeline file written by albumentations.save.",
    )
    overrides = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any recipe key, e.g. head.dropout=0.5. Repeatable; `imgreg recipes plain` lists the keys.",
    )
    decorators = [_option(name, *where) for name, where in wanted.items()]
    for decorator in reversed([overrides, augment, *decorators]):
        function = decorator(function)
    return function


def folds_option(function: F) -> F:
    """--folds, for commands that keep the run of a cross-validation."""
    return _option("folds", *FOLDS)(function)


def tuning_options(function: F) -> F:
    """What recipes.settings.tuning_from reads, except the time."""
    for name in ("inner_folds", "folds", "trials"):
        function = _option(name, config.Tuning, name)(function)
    return function


def base_options(function: F) -> F:
    """What says which base describes the photos, for commands that train nothing; see build_base."""
    for name in reversed(_BASE_OPTIONS):
        function = _option(name, *SETTINGS_OPTIONS[name])(function)
    return function


def build_base(options: dict[str, Any]) -> config.Base:
    """The base that `base_options` ask for. raises UsageError"""
    try:
        return config.Base.model_validate({name: options[name] for name in _BASE_OPTIONS if options[name] is not None})
    except ValidationError as error:
        raise UsageError(validation_text(error, config.Base)) from error


def recipe_option(*, default: str, says: str) -> Callable[[F], F]:
    """--recipe"""
    return click.option("--recipe", default=default, show_default=True, metavar="NAME|FILE.toml", help=says)


def _read_sanity(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names == ["none"]:
        return ()
    unknown = [name for name in names if name not in SANITY_BASELINES]
    if unknown or not names:
        raise click.BadParameter(
            f"found {unknown[0] if unknown else text!r}, expected a comma-separated list of "
            f"{', '.join(SANITY_BASELINES)}, or none."
        )
    measured = ("colour-histogram", "file-metadata")  # against the largest class
    return tuple(dict.fromkeys([*(["majority"] if set(measured) & set(names) else []), *names]))


sanity_option = click.option(
    "--sanity-baselines",
    "sanity_baselines",
    default=",".join(CHEAP_BASELINES),
    show_default=True,
    metavar="A,B,...|none",
    callback=_read_sanity,
    help="Baselines that ignore the image content: largest class, colour histogram alone, file size and format alone; "
    "shuffled-labels trains a head on randomly permuted labels, to show how much it can memorize.",
)


def curve_options(function: F) -> F:
    """How curves are drawn, as one value: the command gets `style`, None where nothing is asked for."""
    names = tuple(config.CurveStyle.model_fields)

    @functools.wraps(function)
    def with_style(*args: Any, **options: Any) -> Any:
        given = {name: value for name in names if (value := options.pop(name)) is not None}
        try:
            style = config.CurveStyle.model_validate(given) if given else None
        except ValidationError as error:
            raise UsageError(validation_text(error, config.CurveStyle)) from error
        return function(*args, style=style, **options)

    for name in reversed(names):
        if name.endswith("lim"):
            decorator = click.option(
                f"--{name}", metavar="A:B", callback=_read_range, help=config.CurveStyle.model_fields[name].description
            )
        else:
            decorator = _option(name, config.CurveStyle, name)
        with_style = decorator(with_style)
    return with_style  # type: ignore[return-value]


def session_options(function: F) -> F:
    """The options of every command that trains, besides its settings, as one value: the command gets `session`."""

    @functools.wraps(function)
    def with_session(*args: Any, watcher: Watcher, **options: Any) -> Printed:
        shared = ("models", "name", "cache_bytes", "resume", "workers", "ray")
        own = {name: options.pop(name) for name in shared if name in options}
        style, command = options.pop("style", None), shlex.join(["imgreg", *sys.argv[1:]])
        session = Session(**own, command=command, style=style, watcher=watcher)
        printed: Printed = function(*args, session=session, **options)
        return printed

    printing = result_options(with_session)
    return resume_option(cache_size_option(name_option(models_option(printing))))  # type: ignore[return-value]


def _read_range(_context: click.Context, _parameter: click.Parameter, text: str | None) -> config.Range | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(low) if low.strip() else None, float(high) if high.strip() else None
    except ValueError:
        raise click.BadParameter(f"found {text!r}, expected A:B, e.g. 10:200, 10: or :200.") from None


def repeats_option(*, default: int | None, says: str, at_least: int = 1) -> Callable[[F], F]:
    """--repeats"""
    return click.option(
        "--repeats",
        type=click.IntRange(min=at_least, max=1000),
        default=default,
        show_default=default is not None,
        metavar="N",
        help=says,
    )


def repeat_folds_option(*, default: int | None = None) -> Callable[[F], F]:
    """--folds, for commands that keep no run."""
    return click.option(
        "--folds",
        type=click.IntRange(min=2, max=100),
        default=default,
        show_default=default is not None,
        metavar="N",
        help="Test every photo once per repeat, in this many folds.",
    )


def given_flags(options: dict[str, Any]) -> list[str]:
    """The options that were given, as they are typed."""
    typed = {"overrides": "--set"}
    return [
        typed.get(name, f"--{name.replace('_', '-')}")
        for name, value in options.items()
        if value is not None and value is not False and value != ()  # 0 is a value
    ]


class _Setting(click.Option):
    """An option that is left out unless given; help says which value holds then, also in the command's recipes."""

    def __init__(self, *args: Any, field_default: object, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.field_default = field_default

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        extra = super().get_help_extra(ctx)
        if str(self.name) in RECIPE_OPTIONS:
            named = next((param.default for param in ctx.command.params if param.name == "recipe"), None)
            recipes = [named] if isinstance(named, str) else COMPARED if ctx.command.name == "compare" else ()
            table, _, key = RECIPE_OPTIONS[str(self.name)][1].partition(".")
            values = {name: load_recipe(name).rendered().get(table, {}).get(key) for name in recipes}
            shown = [f"{value} ({name})" for name, value in values.items() if value is not None]
            extra["default"] = ", ".join(shown) or "the recipe's"
        elif self.field_default is not None:
            extra["default"] = str(self.field_default)
        return extra


def _option(name: str, model: type[Config], key: str) -> Callable[[F], F]:
    field = model.model_fields[key.rpartition(".")[2]]
    flags = [f"--{name.replace('_', '-')}", *_ALIASES.get(name, ())]
    kind: Any = field.annotation
    if kind is bool:
        return click.option(*flags, is_flag=True, default=None, help=field.description)
    type_, metavar = _type(kind, field.metadata)
    return click.option(
        *flags,
        cls=_Setting,
        field_default=field.default,
        type=type_,
        default=None,
        metavar=metavar,
        help=field.description,
    )


def _type(kind: Any, bounds: list[Any]) -> tuple[Any, str | None]:
    """What click checks a value by, and how help names the value."""
    kinds = _flat(kind)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind)), None
    if int in kinds:
        return click.IntRange(**_bounds([*bounds, *kinds])), "N"
    return (click.FloatRange(**_bounds([*bounds, *kinds])), "X") if float in kinds else (str, "NAME|FILE")


def _flat(kind: Any) -> list[Any]:
    """A type and all that it is made of, the bounds in an Annotated included.

    >>> _flat(int | None)[1:]
    [<class 'int'>, <class 'NoneType'>]
    """
    parts = [kind]
    for part in get_args(kind):
        parts += _flat(part)
    return parts + [bound for item in parts for bound in getattr(item, "metadata", ())]


_SIGNS = {"ge": ("min", False), "gt": ("min", True), "le": ("max", False), "lt": ("max", True)}


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    """The bounds as click's ranges take them."""
    found: dict[str, Any] = {}
    for item in metadata:
        for sign, (side, is_open) in _SIGNS.items():
            if (bound := getattr(item, sign, None)) is not None:
                found |= {side: bound, f"{side}_open": is_open}
    return found
