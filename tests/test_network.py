"""The tests' own guard: that no command asks the network is only shown if asking is noticed."""

from __future__ import annotations

import socket

import pytest


def test_asking_the_network_is_refused_and_noticed(no_network: list[str]) -> None:
    """By address and by name; this machine's own address is let through."""
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="no network"):
        socket.getaddrinfo("storage.googleapis.com", 443)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert set(no_network) == {"192.0.2.1", "storage.googleapis.com"}
    no_network.clear()
