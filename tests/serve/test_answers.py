"""What the server answers is what predict prints; what is no photo costs its own request only."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from conftest import imgreg, tree
from imgreg.serve import classifiers
from imgreg.serve.app import make_app
from serve.conftest import serving

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def photos(trained) -> list[Path]:
    return sorted((trained.data / "warm").iterdir())[:6]


def predict_path(photo: Path, **query: object) -> str:
    return "/predict?" + urlencode({"name": str(photo), **query})


def test_answers_are_those_of_predict_to_the_byte(served, models, trained, photos) -> None:
    """Each photo, asked for at once with the others, gets the line of `imgreg predict --json`; with a prediction set
    where a confidence is given. Nothing is kept of them."""
    before = tree(models)
    with ThreadPoolExecutor(len(photos)) as pool:
        together = list(pool.map(lambda photo: served.ask("POST", predict_path(photo), photo.read_bytes()), photos))
    for photo, answer in zip(photos, together, strict=True):
        assert answer.body.decode() == imgreg("predict", photo, "--run", trained.folder, "--json").out
    told = imgreg("predict", photos[0], "--run", trained.folder, "--json", "--confidence", "0.5").out
    path = predict_path(photos[0], run=trained.folder.name, confidence="0.5")
    assert served.ask("POST", path, photos[0].read_bytes()).body.decode() == told
    assert tree(models) == before


BLAS_THREADS = """
import sys
from pathlib import Path
from threadpoolctl import threadpool_info, threadpool_limits
from imgreg.api import predict
from imgreg.api.classifier import load_classifier

def n_threads():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

answered, seen = predict.mean_probabilities, []
predict.mean_probabilities = lambda *given, **named: (seen.append(n_threads()), answered(*given, **named))[1]
run, photo = map(Path, sys.argv[1:])
with threadpool_limits(2, user_api="blas"):
    list(predict.predict([photo], classifier=load_classifier([run], one_photo=True)))
    print(seen, n_threads())
    first, second = predict.one_blas_thread(), predict.one_blas_thread()  # as of two threads: the first leaves first
    first.__enter__(), second.__enter__(), first.__exit__(None, None, None)
    print(n_threads())
    second.__exit__(None, None, None)
    print(n_threads())
"""


def test_one_blas_thread_multiplies_a_photos_features(trained, photos) -> None:
    """In predict as in the server, so that both give the same bits; afterwards there are as many as before."""
    command = [sys.executable, "-c", BLAS_THREADS, str(trained.folder), str(photos[0])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[{1}] {2}\n{1}\n{2}\n"


@pytest.mark.parametrize(
    ("query", "body", "status", "says"),
    [
        ("", b"", 422, "empty"),
        ("", b"\xff\xd8\xff no photo", 422, "not a photo"),
        ("?run=nothing", b"x", 404, "no run 'nothing'"),
        ("?run=../first", b"x", 404, "no run"),
        ("?confidence=2", b"x", 400, "between 0 and 1"),
        ("?confidence=no", b"x", 400, "between 0 and 1"),
        ("?confidence=0.999", b"x", 400, "held-out photos"),
    ],
)
def test_what_cannot_be_answered_says_why(served, query, body, status, says) -> None:
    """The status says whose fault it is, the body why."""
    answer = served.ask("POST", f"/predict{query}", body)
    assert answer.status == status
    assert says in answer.json["error"]


def test_a_person_is_told_on_a_page(served) -> None:
    """What goes wrong where a browser follows a link is a page with the navigation; scripts get JSON."""
    answer = served.ask("GET", "/runs/compare?run=<b>", Accept="text/html")
    assert (answer.status, b"expected 2 to 7" in answer.body, b"/labels" in answer.body) == (400, True, True)
    assert served.ask("GET", "/runs/compare?run=a").json["error"].startswith("found 1 runs")


def test_a_bomb_costs_its_own_request(served, photos) -> None:
    """A picture that claims more pixels than are decoded is refused, and the photo sent beside it is answered."""
    bomb = (
        b"BM" + (0).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
        + (60_000).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    )  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        refused = pool.submit(served.ask, "POST", "/predict", bomb)
        answered = pool.submit(served.ask, "POST", "/predict", photos[0].read_bytes())
        assert refused.result().status == 422
        assert refused.result().json["code"] == "too-large"
        assert answered.result().status == 200


def test_the_inference_protocol_gives_the_same_figures(served, trained, photos) -> None:
    """Photos in base64 come back as rows of the same probabilities; metadata and readiness say what the run takes."""
    assert served.ask("GET", "/v2/health/live").json == {"live": True}
    assert served.ask("GET", "/v2/health/ready").json == {"ready": True}
    assert served.ask("GET", "/v2").json["name"] == "imgreg"
    run = trained.folder.name
    told = served.ask("GET", f"/v2/models/{run}").json
    assert told["inputs"] == [{"name": "photo", "datatype": "BYTES", "shape": [-1]}]
    assert told["parameters"]["classes"] == ["cold", "warm"]
    assert served.ask("GET", f"/v2/models/{run}/ready").json == {"name": run, "ready": True}
    assert served.ask("GET", "/v2/models/nothing/ready").status == 404

    def asked(data: list[bytes], **more: object) -> dict:
        encoded = [base64.b64encode(one).decode() for one in data]
        tensor = {"name": "photo", "datatype": "BYTES", "shape": [len(data)], "data": encoded}
        return served.ask("POST", f"/v2/models/{run}/infer", json.dumps({"id": "7", "inputs": [tensor], **more})).json

    answer = asked([photo.read_bytes() for photo in photos[:2]])
    outputs = {one["name"]: one for one in answer["outputs"]}
    alone = [served.ask("POST", "/predict", photo.read_bytes()).json for photo in photos[:2]]
    assert (answer["id"], answer["model_name"]) == ("7", run)
    assert outputs["label"]["data"] == [one["label"] for one in alone]
    assert outputs["probabilities"]["data"] == [p for one in alone for p in one["probabilities"].values()]
    assert outputs["probabilities"]["shape"] == [2, 2]
    named = asked([photos[0].read_bytes()], outputs=[{"name": "label"}])
    assert [one["name"] for one in named["outputs"]] == ["label"]
    assert "photo 1" in asked([photos[0].read_bytes(), b"no photo"])["error"]
    assert "unknown" in asked([photos[0].read_bytes()], outputs=[{"name": "x"}])["error"]
    assert "1 to 64" in asked([])["error"]
    assert served.ask("POST", f"/v2/models/{run}/infer", "{}").status == 400


def test_runs_that_take_turns_in_memory_all_answer(models, photos, monkeypatch) -> None:
    """Where one run at a time is kept loaded, photos asked of two at once are each answered by their own."""
    monkeypatch.setattr(classifiers, "MAX_LOADED", 1)
    with serving(models) as served, ThreadPoolExecutor(4) as pool:
        paths = [f"/predict?run={name}" for name in ("first", "second") * 3]
        answers = list(pool.map(lambda path: served.ask("POST", path, photos[0].read_bytes()), paths))
    assert len({answer.body for answer in answers}) == 1  # one is a copy of the other
    assert [answer.status for answer in answers] == [200] * 6


def test_the_openapi_document_describes_what_is_served(served, trained) -> None:
    """Each path of the document is a route of the app with that method, and each route for programs is in it."""
    document = served.ask("GET", "/openapi.json").json
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (route.path, method)
        for route in make_app(trained.folder.parent).routes
        for method in (getattr(route, "methods", None) or set()) - {"HEAD"}
        if route.path.startswith(("/v2", "/predict"))
    }
    assert described == routes


def test_a_full_server_says_when_to_come_back(trained, photos) -> None:
    """While the only place is taken by a photo that still arrives, another gets 503 with Retry-After; then it is
    answered."""
    with serving(trained.folder.parent, n_places=1) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1234")
            for _ in range(100):
                answer = served.ask("POST", "/predict", photos[0].read_bytes())
                if answer.status == 503:
                    break
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            slow.sendall(b"56789")
            assert b"422" in slow.recv(100)
        assert served.ask("POST", "/predict", photos[0].read_bytes()).status == 200


def test_the_command_serves_until_it_is_stopped(trained, photos) -> None:
    """The printed address answers the documentation's curl commands; SIGINT ends it with exit code 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imgreg", "serve", "--port", "0", "--models", trained.folder.parent],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
        text=True,
    )
    try:
        address = process.stdout.readline().strip()
        text = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
        commands = re.findall(r"^    ((?:curl|base64) .*(?:\n      .*)*)$", text, re.MULTILINE)
        assert len(commands) >= 4
        for command in commands:
            shown = command.replace("http://127.0.0.1:8000/", address).replace("first-try", trained.folder.name)
            done = subprocess.run(
                ["sh", "-c", shown.replace("photo.jpg", shlex.quote(str(photos[0])))], capture_output=True, check=False
            )
            assert (done.returncode, "error" in json.loads(done.stdout)) == (0, False), shown
    finally:
        process.send_signal(2)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (0, False), err
