"""The command line: one file a command; each parses, builds the settings, makes one call and prints.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 ok, 1 our bug, 2 usage, 3 data unusable,
4 model or artefact refused, 5 environment, 6 busy, 7 training diverged, 130/143 signals.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import shlex
import sys
import warnings
from typing import NoReturn

import click

from imgreg import __version__
from imgreg.atomic_write import WINDOWS
from imgreg.cli.layout import COMMAND_GROUPS
from imgreg.cli.show import wrapped
from imgreg.cli.stopping import TerminatedError, listen, stop_if_asked
from imgreg.errors import ImgregError, MachineError

COMMANDS = {name: help for group in COMMAND_GROUPS.values() for name, help in group.items()}

_TRAINING = ("train", "compare", "study", "learning-curve", "lr-find", "label-issues", "tune")


class _LazyGroup(click.Group):
    """Imports a command's file only when it is called, so that --help answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"imgreg.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and args[0][:1] != "-":
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, COMMANDS))
        for heading, commands in COMMAND_GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), says) for name, says in commands.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="imgreg %(version)s")
def root() -> None:
    """Is my photo classifier overfitting, what helps, and how sure are we?

    Train a regularized Dense head on a frozen VGG16 with your own folders of photos.

    \b
    Example:
      imgreg train data/          data/ contains one folder of photos per class
      imgreg predict photo.jpg    with the newest run under models/
      imgreg compare data/        with and without regularization

    `imgreg help COMMAND` explains a command.
    """


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    listen()
    if WINDOWS:  # a pipe has a code page there, which may lack a character of a file's name
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd files; what matters is in skipped.csv
    try:
        code = _run()
        sys.stdout.flush()
    except ImgregError as error:
        code = error.exit_code
        message = f"imgreg: {_printable(str(error))}"
        click.echo(wrapped(message) if sys.stderr.isatty() else message, err=True)
    except click.ClickException as error:
        code = error.exit_code
        error.show()
    except (click.Abort, KeyboardInterrupt):
        code = 130
        click.echo(f"imgreg: interrupted; {_kept()}", err=True)
    except TerminatedError:
        code = 143
        click.echo(f"imgreg: terminated; {_kept()}", err=True)
    except OSError as error:
        if _reader_has_gone(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        else:
            code = MachineError.exit_code
            click.echo(f"imgreg: {_printable(str(error.filename or 'output'))}: {error.strerror or error}", err=True)
    sys.exit(code)


def _reader_has_gone(error: OSError) -> bool:
    """Whether nobody reads our stdout any more, as after `| head`. Windows calls that an invalid argument."""
    return isinstance(error, BrokenPipeError) or (WINDOWS and error.errno == errno.EINVAL and error.filename is None)


def _run() -> int:
    try:
        return root.main(prog_name="imgreg", standalone_mode=False) or 0
    except Exception:
        stop_if_asked()  # a signal in the midst of others' code may come out as their error, an ImportError say
        raise


def _kept() -> str:
    """What an interrupted command leaves, and how to go on."""
    typed = sys.argv[1:]
    if not typed or typed[0] not in _TRAINING:
        return "no partial output was kept."
    again = shlex.join(["imgreg", *(word for word in typed if word != "--no-resume")])
    return f"finished features and epochs were kept. To resume, run the same command again: {_printable(again)}"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
