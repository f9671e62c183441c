"""imgreg export [RUN] --to FORMAT"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from imgreg.cli.flags import Printed, models_option, result_options
from imgreg.cli.run_option import chosen_runs, one_of, run_argument, run_option
from imgreg.progress import Watcher


@click.command("export")
@run_argument
@run_option
@click.option(
    "--to",
    multiple=True,
    required=True,
    metavar="FORMAT",
    help="keras, savedmodel, onnx, litert or openvino; repeat it, or separate several by commas.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that gets one folder per format.  [default: exports/ and the run's name]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="How weights are stored; float16 for onnx, litert and openvino.",
)
@click.option("--force", is_flag=True, help="Replace earlier exports.")
@models_option
@result_options
def command(
    named: Path | None,
    run: Path | None,
    to: tuple[str, ...],
    out: Path | None,
    dtype: Literal["float32", "float16"],
    force: bool,
    models: Path,
    watcher: Watcher,
) -> Printed:
    """Write a run's classifier for other runtimes.

    The model takes uint8 RGB photos of the run's image size, with the preprocessing inside, and returns calibrated
    probabilities. Each format is run in its own runtime and compared with imgreg's probabilities before it is kept: on
    up to 50 validation photos, noise, constants and extremes. onnx and litert need: pip install 'imgreg[export]'

    \b
    Example:
      imgreg export first-try --to onnx
      imgreg export first-try --to litert,openvino --dtype float16
    """
    from imgreg.api.export import export_document, export_run
    from imgreg.reports.text import visible

    formats = [name.strip().lower() for names in to for name in names.split(",")]
    (chosen,) = chosen_runs(one_of(named, run), models=models, watcher=watcher)
    done = export_run(chosen, to=formats, out=out, dtype=dtype, force=force, watcher=watcher)
    return (
        lambda: export_document(done),
        lambda: "\n".join(
            f"{visible(str(one.folder))}: {one.n_bytes / 1e6:.1f} MB, probabilities within "
            f"{one.parity.max_difference:.1g} of imgreg's on {one.parity.n_photos} photos and "
            f"{one.parity.n_synthetic} synthetic images"
            for one in done
        ),
    )
