"""`imgreg serve` under load: its rate and CPU time against the base's own, latencies, memory, pages, and a plain app.

usage: python benchmarks/serve.py [IMAGE_SIZE] [PHOTOS]        (default 128 px, 100 photos a round)

A run is trained on drawn pictures (2 epochs; how good it is does not matter). The peer is what a user would write
first: one file with Starlette, Pillow and Keras' predict on the same network with the same weights. Both servers run
at once, on this machine only, and are asked in turn; three rounds, medians. The base's own rate is that of the same
photos, decoded before, in this process; where others use the machine, compare the CPU time a photo instead. Bounded:
some thousand requests, a few minutes.
"""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from drawn import draw_sample
from predict import save_for_keras
from timing import seconds, show

from imgreg.api.classifier import load_classifier
from imgreg.api.predict import photo_probabilities
from imgreg.data.decode import decode

CLIENTS = 8
ROUNDS = 3
MEMORY_REQUESTS = 1500
PAGES = ("/", "/runs", "/runs/run/report.html", "/labels", "/check", "/train", "/nothing")
PEER = """
import io, sys
import keras, numpy as np, uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

model = keras.models.load_model(sys.argv[1])
size = model.input_shape[1:3]

async def predict(request):
    photo = Image.open(io.BytesIO(await request.body())).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    return JSONResponse(model.predict(np.asarray(photo)[None], verbose=0)[0].tolist())

app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""


def main(image_size: int, n_photos: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_sample(root / "photos", count=40, seed=0)
        options = ["--recipe", "blog", "--folds", "0", "--weights", "starter", "--image-size", str(image_size)]
        options += ["--epochs", "2", "--views", "1", "--models", str(root), "--name", "run", "-q"]
        subprocess.run([sys.executable, "-m", "imgreg", "train", str(root / "photos"), *options], check=True)
        save_for_keras(root / "run", root / "whole.keras", image_size)
        files = [path.read_bytes() for path in sorted((root / "photos").glob("*/*.*"))]
        photos = [files[i % len(files)] for i in range(n_photos)]
        few = photos[: n_photos // 4]  # for the peer, which is slower
        pixels = [decode(one, size_px=image_size) for one in photos]
        classifier = load_classifier([root / "run"])
        ours = [sys.executable, "-m", "imgreg", "serve", "--models", str(root), "-q", "--port"]
        theirs = [sys.executable, "-c", PEER, str(root / "whole.keras")]
        with serving(ours, files[0]) as (port, server), serving(theirs, files[0]) as (peer_port, _):
            rates: dict[str, list[float]] = {"base": [], "serve": [], "peer": []}
            cpu: dict[str, list[float]] = {"base": [], "serve": []}
            for _ in range(ROUNDS):
                before = time.process_time()
                took = seconds(lambda: list(photo_probabilities(pixels, classifier=classifier)))
                rates["base"].append(n_photos / took)
                cpu["base"].append((time.process_time() - before) / n_photos)
                before = cpu_seconds(server.pid)
                rates["serve"].append(n_photos / seconds(lambda: ask_all(port, photos)))
                cpu["serve"].append((cpu_seconds(server.pid) - before) / n_photos)
                rates["peer"].append(len(few) / seconds(lambda: ask_all(peer_port, few)))
            medians = {name: statistics.median(values) for name, values in rates.items()}
            alone = [seconds(lambda one=one: ask(port, one)) for one in photos[:20]]
            loaded = latencies(port, photos, per_second=medians["serve"] / 2)
            peer_alone = [seconds(lambda one=one: ask(peer_port, one)) for one in photos[:20]]
            first_bytes = {path: statistics.median(first_byte(port, path) for _ in range(9)) for path in PAGES}
            before = memory_mb(server.pid)
            ask_all(port, [files[i % len(files)] for i in range(MEMORY_REQUESTS)])
            grown = memory_mb(server.pid) - before
    milliseconds = {
        "alone_p50": statistics.median(alone),
        "half_load_p50": statistics.median(loaded),
        "half_load_p95": statistics.quantiles(loaded, n=20)[-1],
        "peer_alone_p50": statistics.median(peer_alone),
    }
    show(
        {
            "image_size": image_size,
            "photos_per_second": {name: round(value, 1) for name, value in medians.items()},
            "of_base": round(medians["serve"] / medians["base"], 2),
            "cpu_milliseconds_a_photo": {name: round(1000 * statistics.median(one), 1) for name, one in cpu.items()},
            "first_byte_milliseconds": {path: round(1000 * value, 1) for path, value in first_bytes.items()},
            "milliseconds": {name: round(1000 * value, 1) for name, value in milliseconds.items()},
            "memory_mb": round(before),
            "memory_growth_mb": round(grown),
        },
        *(f"{name:6} {value:8.1f} photos/s" for name, value in medians.items()),
        *(f"{name:6} {1000 * statistics.median(one):8.1f} ms of CPU a photo" for name, one in cpu.items()),
        *(f"{path:15} {1000 * value:8.1f} ms to the first byte" for path, value in first_bytes.items()),
        *(f"{name:15} {1000 * value:8.1f} ms" for name, value in milliseconds.items()),
        f"memory {before:.0f} MB, {grown:+.0f} MB after {MEMORY_REQUESTS} requests",
    )


@contextmanager
def serving(command: Sequence[str], photo: bytes) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command with a free port added, once it has answered a photo."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                ask(port, photo)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield port, process
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int, photo: bytes, connection: http.client.HTTPConnection | None = None) -> None:
    """One photo; a server that is full is asked again."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        own.request("POST", "/predict", photo)
        answer = own.getresponse()
        answer.read()
        if answer.status == 200:
            break
        if answer.status != 503:
            sys.exit(f"status {answer.status}")
        time.sleep(0.1)
    if connection is None:
        own.close()


def ask_all(port: int, photos: Sequence[bytes]) -> None:
    """All photos by CLIENTS clients, each with a connection that it keeps."""
    coming, lock = iter(photos), threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                photo = next(coming, None)
            if photo is None:
                break
            ask(port, photo, connection)
        connection.close()

    _together([client] * CLIENTS)


def latencies(port: int, photos: Sequence[bytes], *, per_second: float) -> list[float]:
    """Seconds from when each photo was due, at even intervals, to its answer."""
    began, taken = time.perf_counter(), []

    def one(number: int) -> None:
        due = began + number / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        ask(port, photos[number])
        taken.append(time.perf_counter() - due)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(one, range(len(photos))))
    return taken


def _together(works: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def first_byte(port: int, path: str) -> float:
    """Seconds from the request of a page to the beginning of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", path, headers={"Accept": "text/html"})
    answer = connection.getresponse()
    took = time.perf_counter() - began
    answer.read()
    connection.close()
    return took


def processes(pid: int) -> Iterator[int]:
    """A process and those that it started, in any of its threads."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
            yield one


def memory_mb(pid: int) -> float:
    """Resident memory of these processes."""
    lines = [line for one in processes(pid) for line in Path(f"/proc/{one}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def cpu_seconds(pid: int) -> float:
    """CPU time that these processes have taken, user and system."""
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in processes(pid)]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*given, *(128, 100)[len(given) :])
