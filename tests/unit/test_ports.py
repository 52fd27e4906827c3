"""Ports of servers: free, never those of outgoing connections, remembered."""

import socket
from contextlib import closing
from pathlib import Path

from cli.stack.ports import LOOPBACK, SERVERS, forget_port, free_port, is_free, remembered_port

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_a_port_is_none_that_a_connection_may_get():
    """A connection of anybody's would hold it while its server is down."""
    first = int(OUTGOING.read_text().split()[0]) if OUTGOING.exists() else 32_768
    assert {free_port() in SERVERS for _ in range(50)} == {True}
    assert SERVERS.stop <= first


def test_a_port_in_use_is_not_free():
    with closing(socket.socket()) as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_a_port_is_remembered_until_it_is_forgotten(tmp_path: Path):
    """By name and home; two names have two ports."""
    port = remembered_port(tmp_path, "one")
    assert remembered_port(tmp_path, "one") == port != remembered_port(tmp_path, "two")
    forget_port(tmp_path, "one")
    forget_port(tmp_path, "never")
    assert remembered_port(tmp_path, "one") in SERVERS
