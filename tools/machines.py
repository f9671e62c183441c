"""Machines that share nothing but a network, on this one: for Linux, as root.

Each has a network address, a host name, processes, a home, /tmp and /dev/shm of its own (namespaces of the kernel); the
installed programs are the same. A machine can be switched off at once, as by a loss of power.

>>> with machines("10.99.0", {"head": [], "worker": [Path("/data")]}) as (head, worker):  # doctest: +SKIP
...     worker.run("ping", "-c1", head.address)
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HOME = "/home"
_PRIVATE = (HOME, "/tmp", "/dev/shm", "/var/tmp")


class Machine:
    """One machine of a network; `machines` makes them."""

    def __init__(self, name: str, *, address: str, switch: str, hidden: Sequence[Path]) -> None:
        """
        Parameters
        ----------
        hidden : sequence of Path
            Folders of this computer that the machine does not have.
        """
        self.name, self.address = name, address
        self._space, self._hidden = f"{switch}-{name}", hidden
        number = address.rpartition(".")[2]
        _ip("netns", "add", self._space)
        _ip("link", "add", f"im{number}", "netns", switch, "type", "veth", "peer", "eth0", "netns", self._space)
        _ip("-n", switch, "link", "set", f"im{number}", "master", "bridge", "up")
        _ip("-n", self._space, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self._space, "link", "set", device, "up")
        self.switch_on()

    def switch_on(self) -> None:
        """Start it, with empty private folders."""
        mounts = [f"mount -t tmpfs tmpfs {path}" for path in (*self._hidden, *_PRIVATE)]
        script = " && ".join([f"hostname {self.name}", *mounts, "exec sleep infinity"])
        spaces = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._init = subprocess.Popen(["ip", "netns", "exec", self._space, *spaces, "sh", "-c", script])
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        while not (child := children.read_text().split()) or not self._is_ready(child[0]):
            if self._init.poll() is not None:
                raise RuntimeError(f"{self.name} did not start; the reason is above")
            time.sleep(0.05)
        self._pid = child[0]

    def _is_ready(self, pid: str) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text().strip() == "sleep"
        return False

    def switch_off(self) -> None:
        """At once: all its processes and its private folders are gone."""
        self._init.kill()
        self._init.wait()

    def start(self, *words: str, env: Mapping[str, str] | None = None, **options: object) -> subprocess.Popen[str]:
        """Start a program on it."""
        enter = ["nsenter", "--target", self._pid, "--net", "--mount", "--uts", "--pid", "--wd=/"]
        own = os.environ | {"HOME": HOME} | dict(env or {})
        return subprocess.Popen([*enter, *words], env=own, text=True, **options)  # type: ignore[call-overload,no-any-return]

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program on it to its end, and give what it printed."""
        process = self.start(*words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@contextlib.contextmanager
def machines(network: str, hidden: Mapping[str, Sequence[Path]]) -> Iterator[list[Machine]]:
    """Machines on a network of their own, the first at NETWORK.1; they are switched off and removed at the end.

    Parameters
    ----------
    network : str
        The first three numbers of their addresses.
    hidden : mapping of str to sequence of Path
        The machines' names, each with the folders of this computer that it does not have.
    """
    switch = f"imgreg-{os.getpid()}"
    with contextlib.ExitStack() as ending:
        _ip("netns", "add", switch)
        ending.callback(_ip, "netns", "delete", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        made = []
        for number, (name, folders) in enumerate(hidden.items(), start=1):
            made.append(Machine(name, address=f"{network}.{number}", switch=switch, hidden=folders))
            ending.callback(_ip, "netns", "delete", f"{switch}-{name}")
            ending.callback(made[-1].switch_off)
        yield made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
