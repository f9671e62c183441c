"""imgreg cache show, clear, verify"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from imgreg.cli.flags import json_option, quiet_option
from imgreg.errors import ArtefactError

if TYPE_CHECKING:
    from imgreg.api.cache import CacheReport


@click.group("cache")
def command() -> None:
    """Show, verify or clear the cache.

    The cache holds photo features, metadata of files already read, the frozen VGG16 exported to OpenVINO, the trained
    trials of studies and the checkpoints of interrupted training runs (deleted after 30 days). It is in $IMGREG_CACHE,
    or in your user cache folder. The only photos in it are those fetched from object stores (s3://...), and everything
    can be computed or fetched again. train, compare and study keep the features within --cache-size.

    Where $IMGREG_CACHE is an address (s3://bucket/prefix, gs://, az://, file://), features are also kept there, for
    all machines that name it, and the exported VGG16 for the workers of --ray. Everything else stays in your user cache
    folder.

    \b
    Example:
      imgreg cache show
      imgreg cache verify
      imgreg cache clear
    """


@command.command("show")
@json_option
def show(as_json: bool) -> None:
    """Show where the cache is and what it holds.

    \b
    Example:
      imgreg cache show --json
    """
    from imgreg.api.cache import show_cache
    from imgreg.cli.show import print_json

    report = show_cache()
    if as_json:
        print_json(_document(report))
        return
    features = report.features
    click.echo(f"{report.folder}")
    _row("features", features.n_bytes, f"{features.n_features:,} views in {features.n_blocks:,} blocks")
    if features.newest_use is not None and features.oldest_use is not None:
        click.echo(f"  {'':19}  last used {_day(features.newest_use)}, least recently {_day(features.oldest_use)}")
    if features.n_damaged:
        _row("damaged", features.damaged_bytes, f"{features.n_damaged:,} blocks set aside")
    _row("VGG16", sum(n_bytes for _, n_bytes in report.bases), f"{len(report.bases)} exported")
    if report.n_trials:
        _row("studies", report.trials_bytes, f"{report.n_trials:,} trials")
    if report.file_cache_bytes:
        _row("photos", report.file_cache_bytes, "metadata of files already read")
    if report.n_fetched:
        _row("fetched", report.fetched_bytes, f"{report.n_fetched:,} files from object stores")
    if report.n_checkpoints:
        _row("resume", report.checkpoints_bytes, f"{report.n_checkpoints:,} interrupted training runs")
    if stored := report.store:
        click.echo(stored.address)
        _row("features", stored.n_bytes, f"{stored.n_blocks:,} blocks, shared")


def _row(name: str, n_bytes: int, contents: str) -> None:
    click.echo(f"  {name:<8}  {_size(n_bytes):>9}  {contents}")


@command.command("verify")
@json_option
@quiet_option
def verify(as_json: bool, quiet: bool) -> None:
    """Verify every byte. Damaged entries are removed and recomputed when needed; the exit code is then 4.

    \b
    Example:
      imgreg cache verify
    """
    from imgreg.api.cache import verify_cache
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json

    with watching(quiet=quiet, verbose=False) as watcher:
        done = verify_cache(watcher=watcher)
    if as_json:
        names = ("damaged_bases", "damaged_trials", "damaged_checkpoints")
        damaged = {name: [str(path) for path in getattr(done, name)] for name in names}
        print_json({"folder": str(done.folder), "features": asdict(done.features), **damaged})
    elif not quiet:
        strays = f", {done.features.n_strays} leftover temporary files removed" if done.features.n_strays else ""
        click.echo(
            f"{done.folder}: {done.features.n_intact:,} blocks intact, {done.n_damaged:,} entries damaged{strays}"
        )
    if done.n_damaged:
        click.get_current_context().exit(ArtefactError.exit_code)


@command.command("clear")
@click.option("--store", is_flag=True, help="Delete what is in the object store too, for every machine.")
@json_option
def clear(store: bool, as_json: bool) -> None:
    """Delete the whole cache of this machine. A training run in progress will have to be restarted.

    \b
    Example:
      imgreg cache clear
    """
    from imgreg.api.cache import clear_cache
    from imgreg.cli.show import print_json
    from imgreg.paths import cache_store

    before = clear_cache(store=store)
    if as_json:
        print_json(_document(before))
        return
    click.echo(f"{before.folder}: {_size(before.n_bytes)} freed ({before.features.n_features:,} views)")
    if stored := before.store:
        click.echo(f"{stored.address}: {_size(stored.n_bytes)} deleted ({stored.n_blocks:,} blocks)")
    elif address := cache_store():
        click.echo(f"{address}: nothing deleted; --store deletes its features, for every machine")


def _document(report: CacheReport) -> dict[str, object]:
    bases = [{"path": str(path), "n_bytes": n_bytes} for path, n_bytes in report.bases]
    return {
        "folder": str(report.folder),
        "n_bytes": report.n_bytes,
        "features": asdict(report.features),
        "bases": bases,
        "studies": {"n_trainings": report.n_trials, "n_bytes": report.trials_bytes},
        "photos": {"n_bytes": report.file_cache_bytes},
        "fetched": {"n_files": report.n_fetched, "n_bytes": report.fetched_bytes},
        "interrupted": {"n_trainings": report.n_checkpoints, "n_bytes": report.checkpoints_bytes},
        "store": None if report.store is None else asdict(report.store),
    }


def _size(n_bytes: int) -> str:
    value = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
