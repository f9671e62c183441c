"""imgreg serve"""

from __future__ import annotations

import importlib.util
import secrets
import socket
from contextlib import suppress
from pathlib import Path

import click

from imgreg.cli.flags import models_option, quiet_option
from imgreg.cli.stopping import TerminatedError
from imgreg.errors import MachineError


@click.command("serve")
@models_option
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Let the pages check photo folders below FOLDER and train on them; repeat it for several.",
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Port; 0 for a free one.")
@click.option("--open", "and_open", is_flag=True, help="Open the page in the browser.")
@quiet_option
def command(models: Path, roots: tuple[Path, ...], host: str, port: int, and_open: bool, quiet: bool) -> None:
    """Use the runs in a browser, or over HTTP.

    Serves pages that classify photos, compare runs, review labels, check photo folders and train, and an interface for
    programs (POST /predict, the Open Inference Protocol under /v2, both described at /openapi.json). Photos that are
    sent to it are not kept. Only requests from this machine are answered, unless --host says otherwise: then a token is
    required. Needs: pip install 'imgreg[serve]'

    \b
    Example:
      imgreg serve --open
      imgreg serve --root ~/Pictures
      curl --data-binary @photo.jpg http://127.0.0.1:8000/predict
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise MachineError(f"imgreg serve needs {' and '.join(missing)}: pip install 'imgreg[serve]'")
    from imgreg.cli.progress import watching
    from imgreg.serve.app import make_app
    from imgreg.serve.guard import Access
    from imgreg.serve.server import is_loopback, listen, run

    beyond_loopback = not is_loopback(host)
    token = secrets.token_urlsafe(24) if beyond_loopback else None
    with watching(quiet=quiet, verbose=False) as watcher, listen(host, port) as listening:
        if beyond_loopback:
            watcher.say(
                f"Listening on {host}: other machines can reach this server, over a connection that is not encrypted. "
                "The token in the address is all that protects it."
            )
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/" + (f"#{token}" if token else "")
        app = make_app(models, roots=roots, access=Access(token, beyond_loopback), watcher=watcher)

        def ready() -> None:
            click.echo(address)
            watcher.say("Press Ctrl-C to stop.")
            if and_open and click.launch(address) != 0:
                watcher.say(f"Could not start a browser. Open {address} yourself.")

        with suppress(KeyboardInterrupt, TerminatedError):
            run(app, listening, ready=ready)
