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

import numpy as np
import pytest

from imgreg.analysis.label_issues import rank_labels
from imgreg.api.label_issues import LabelIssues, write_label_issues
from imgreg.data.index import index_photos, labels_of
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
    """The trained run, a copy of it that is called second and a day younger, and a label check."""
    models = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(trained.folder, models / "first")
    younger = Path(shutil.copytree(trained.folder, models / "second"))
    summary = json.loads((younger / "metrics.json").read_text())
    created = datetime.fromisoformat(summary["created"]) + timedelta(days=1)
    changed = {"name": "second", "created": created.isoformat(timespec="milliseconds")}
    (younger / "metrics.json").write_text(json.dumps(summary | changed))
    write_sums(younger)
    (models / "doubtful").mkdir()
    _check_labels(trained.data, models / "doubtful")
    return models


def _check_labels(data: Path, folder: Path) -> None:
    """What label-issues writes where heads doubt the first three photos, all of class cold."""
    index = index_photos(data, max_bad=1.0)
    labels = labels_of(index.photos, index.classes)
    own = np.full(len(labels), 0.9)
    own[:3] = 0.1, 0.2, 0.3
    given = np.stack([np.where(labels == k, own, 1 - own) for k in (0, 1)], axis=1)
    table = rank_labels(given, labels, own_when_trained=own, forgotten=np.zeros(len(labels)), classes=index.classes)
    done = LabelIssues(folder, table, tuple(photo.path for photo in index.photos), ("Three labels.",), ())
    write_label_issues(folder, done, index=index, command=f"imgreg label-issues {data}")


@pytest.fixture(scope="session")
def served(models) -> Iterator[Served]:
    with serving(models) as address:
        yield address
