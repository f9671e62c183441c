"""One server on a tiny trained run, for all of these tests."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgreg.runs.checksums import write_sums
from imgreg.serve.app import make_app
from imgreg.serve.server import listen, make_server


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """An address on this machine."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; an underscore in a header's name stands for a dash."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


@contextmanager
def serving(models: Path, **options: Any) -> Iterator[Served]:
    """The app on a free port, stopped gracefully."""
    with listen("127.0.0.1", 0) as listening:
        server = make_server(make_app(models, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Served(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def models(trained, tmp_path_factory) -> Path:
    """The trained run, and a copy of it that is called second and a minute younger."""
    models = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(trained.folder, models / "first")
    younger = Path(shutil.copytree(trained.folder, models / "second"))
    summary = json.loads((younger / "metrics.json").read_text())
    created = datetime.fromisoformat(summary["created"]) + timedelta(minutes=1)
    changed = {"name": "second", "created": created.isoformat(timespec="milliseconds")}
    (younger / "metrics.json").write_text(json.dumps(summary | changed))
    write_sums(younger)
    return models


@pytest.fixture(scope="session")
def served(models) -> Iterator[Served]:
    with serving(models) as address:
        yield address
