"""imgreg extract and study on a Ray cluster whose machines share nothing but a bucket. Linux, as root.

usage: python benchmarks/ray_machines.py [--size-px 64] [--views 4] DATA

Four machines on a network of their own (tools/machines.py): an S3 server with DATA's photos, the cluster's head, a
worker, and one that is not in the cluster. Ray asks for tokens. One machine alone extracts the features and trains a
study; then the cluster does both, with its own part of the bucket, while the worker is switched off in the middle of
each and comes back empty; then the machine outside has the cluster extract once more. The blocks of features, the index
and the study's table must be those of the machine alone.
Prints what was compared, and seconds; exit code 1 for any difference.
needs: ip and unshare (iproute2, util-linux), moto's S3 server, imgreg[ray,stores]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from machines import HOME, Machine, machines

ROOT = Path(__file__).parents[1]
NETWORK = "10.99.0"
RAY_PORT = 6379
OFF_AFTER_SECONDS = 18  # workers have started by then
STORE = f"http://{NETWORK}.1:5000"
ENVIRONMENT = {
    "AWS_ENDPOINT_URL": STORE,
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_REGION": "us-east-1",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "PYTHONPATH": str(ROOT / "src"),
}
TABLE = ("table.csv", "trials.json")


class Cluster:
    """A head and workers of one CPU each, with a token that they share."""

    def __init__(self, head: Machine) -> None:
        self.address = f"{head.address}:{RAY_PORT}"
        self._token = secrets.token_hex(32)
        self._start(head, "--head", f"--port={RAY_PORT}")

    def add(self, machine: Machine) -> None:
        self._start(machine, f"--address={self.address}")

    def give_token(self, machine: Machine) -> None:
        keep = f"mkdir -p {HOME}/.ray && umask 077 && cat > {HOME}/.ray/auth_token"
        machine.start("sh", "-c", keep, stdin=subprocess.PIPE).communicate(self._token)

    def _start(self, machine: Machine, *words: str) -> None:
        self.give_token(machine)
        own = [f"--node-ip-address={machine.address}", "--num-cpus=1", "--object-store-memory=100000000"]
        head = ["--include-dashboard=false"] if "--head" in words else []
        _done(machine, str(Path(sys.executable).parent / "ray"), "start", *words, *own, *head)


def imgreg(machine: Machine, *words: str, cache: str, disturb: Callable[[], None] = lambda: None) -> str:
    """Run a command, and give what it prints; `disturb` is called OFF_AFTER_SECONDS after its start."""
    began = time.monotonic()
    env = ENVIRONMENT | {"IMGREG_CACHE": cache}
    command = [sys.executable, "-m", "imgreg", *words]
    process = machine.start(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(OFF_AFTER_SECONDS)
    if process.poll() is None:
        disturb()
    out, err = process.communicate()
    if process.returncode:
        sys.exit(f"{machine.name}: imgreg {words[0]} ended with {process.returncode}: {err[-3000:]}")
    print(f"{machine.name}: imgreg {words[0]}, {time.monotonic() - began:.0f} s", flush=True)
    return out


def objects(machine: Machine, address: str) -> list[str]:
    """Names of all blocks, and of what lists their features."""
    listing = (
        "import obstore, sys; store = obstore.store.from_url(sys.argv[1]);"
        "print('\\n'.join(sorted(one['path'] for part in obstore.list(store) for one in part)))"
    )
    found = _done(machine, sys.executable, "-c", listing, address).split()
    return [name for name in found if name.startswith(("blocks/", "index/"))]


def upload(bucket: Machine, data: Path) -> None:
    """Start the S3 server and put the photos into it."""
    server = [sys.executable, "-m", "moto.server", "--host", bucket.address, "--port", "5000"]
    bucket.start(*server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    putting = (
        "import sys, time, urllib.request, obstore; from pathlib import Path\n"
        "for name in ('photos', 'features'):\n"
        "    for _ in range(600):\n"
        "        try:\n"
        "            urllib.request.urlopen(urllib.request.Request(f'{sys.argv[1]}/{name}', method='PUT')); break\n"
        "        except OSError: time.sleep(0.1)\n"
        "store, data = obstore.store.from_url('s3://photos'), Path(sys.argv[2])\n"
        "for path in data.rglob('*'):\n"
        "    if path.is_file(): obstore.put(store, str(path.relative_to(data.parent)), path.read_bytes())\n"
    )
    _done(bucket, sys.executable, "-c", putting, STORE, str(data))


def compare(data: Path, *, size_px: int, views: int) -> Iterator[str]:
    """Do all of it, and give each difference."""
    photos = f"s3://photos/{data.name}"
    base = ["--weights", "starter", "--image-size", str(size_px)]
    extract = ["extract", photos, *base, "--set", f"augmentation.views={views}", "--json"]
    study = ["study", photos, *base, "--topic", "dropout", "--repeats", "2", "--epochs", "20"]
    study += ["--sanity-baselines", "none", "--models", f"{HOME}/models", "--name", "study", "-q"]
    hidden = {"bucket": [], "head": [data.parent], "worker": [data.parent], "alone": [data.parent]}
    with machines(NETWORK, hidden) as (bucket, head, worker, alone):
        upload(bucket, data)
        tables = {}
        counted = json.loads(imgreg(alone, *extract, cache="s3://features/alone"))
        print(f"alone: {counted}", flush=True)
        imgreg(alone, *study, cache="s3://features/alone")
        tables["alone"] = [_done(alone, "cat", f"{HOME}/models/study/{name}") for name in TABLE]

        cluster = Cluster(head)
        cluster.add(worker)
        on_ray = ["--ray", cluster.address]
        outsider = alone.run(sys.executable, "-m", "imgreg", *extract, *on_ray, env=ENVIRONMENT)
        print(f"without a token: exit {outsider.returncode}: {outsider.stderr.strip().splitlines()[-1:]}", flush=True)
        if outsider.returncode == 0:
            yield "a machine without the token was let in"

        def off_and_on() -> None:
            worker.switch_off()
            time.sleep(5)
            worker.switch_on()
            cluster.add(worker)
            print("worker: was switched off, and is back with nothing", flush=True)

        counted = json.loads(imgreg(head, *extract, *on_ray, cache="s3://features/cluster", disturb=off_and_on))
        print(f"cluster: {counted}", flush=True)
        imgreg(head, *study, *on_ray, cache="s3://features/cluster", disturb=off_and_on)
        tables["cluster"] = [_done(head, "cat", f"{HOME}/models/study/{name}") for name in TABLE]
        again = json.loads(imgreg(alone, *extract, cache="s3://features/cluster"))
        print(f"alone, with the cluster's features: {again}", flush=True)

        alone.switch_off()
        alone.switch_on()  # its cache is empty
        cluster.give_token(alone)
        outside = ["--ray", f"ray://{head.address}:10001"]
        counted = json.loads(imgreg(alone, *extract, *outside, cache="s3://features/outside"))
        print(f"from outside the cluster: {counted}", flush=True)

        stored = {part: objects(alone, f"s3://features/{part}") for part in ("alone", "cluster", "outside")}
        print(f"{len(stored['alone'])} blocks and lists, {len(tables['alone'][0].splitlines())} lines of a table")
        for part, names in stored.items():
            if names != stored["alone"]:
                yield f"{part}: blocks or index differ, {len(set(stored['alone']) ^ set(names))} names"
        yield from (f"{name} differs" for name, a, b in zip(TABLE, *tables.values(), strict=True) if a != b)


def _done(machine: Machine, *words: str, **env: str) -> str:
    process = machine.run(*words, env=ENVIRONMENT | env)
    if process.returncode:
        sys.exit(f"{machine.name}: {' '.join(words[:6])} ended with {process.returncode}: {process.stderr[-3000:]}")
    return process.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-px", type=int, default=64)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Namespaces of the kernel need root.")
    differences = list(compare(asked.data.resolve(), size_px=asked.size_px, views=asked.views))
    print("\n".join(differences) or "the same")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
