"""A machine of its own, as a network namespace behind a cable that can be pulled: both ends stay up, and hear
nothing any more. Needs root, and a kernel that allows it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SUBNET = "10.213.7"
HERE, THERE = f"{SUBNET}.1", f"{SUBNET}.2"
"""Addresses of this machine and of the other one."""
NETWORK = f"{SUBNET}.0/24"


class Cable:
    """Between this machine's bridge and the namespace."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._end, self._bridge = f"{name}-a", f"{name}-br"

    def command(self, *arguments: str) -> list[str]:
        """The command, run on the other machine."""
        return ["ip", "netns", "exec", self._name, *arguments]

    def lay(self) -> None:
        """Make the machine and connect it."""
        far = f"{self._name}-b"
        ip("netns", "add", self._name)
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{HERE}/24", "dev", self._bridge)
        ip("link", "add", self._end, "type", "veth", "peer", "name", far, "netns", self._name)
        self.plug()
        for device in (self._bridge, self._end):
            ip("link", "set", device, "up")
        ip("-n", self._name, "addr", "add", f"{THERE}/24", "dev", far)
        for device in ("lo", far):
            ip("-n", self._name, "link", "set", device, "up")

    def pull(self) -> None:
        """Nothing comes through: no end of a connection, no refusal, no word of the network's."""
        ip("link", "set", self._end, "nomaster")

    def plug(self) -> None:
        """Put it back."""
        ip("link", "set", self._end, "master", self._bridge)

    def remove(self) -> None:
        """All of it."""
        for arguments in (
            ("netns", "del", self._name),
            ("link", "del", self._end),
            ("link", "del", self._bridge),
        ):
            with suppress(subprocess.CalledProcessError):
                ip(*arguments)


def ip(*arguments: str) -> None:
    """iproute2; CalledProcessError says what it refused."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def cable() -> Iterator[Cable]:
    """One that is laid. PermissionError where this machine does not allow it."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        raise PermissionError("network namespaces need root and iproute2")
    made = Cable(f"tcp{os.getpid() % 100_000}")
    try:
        made.lay()
    except subprocess.CalledProcessError as error:
        made.remove()
        raise PermissionError(f"no network namespaces here: {error.stderr.decode().strip()}") from None
    try:
        yield made
    finally:
        made.remove()
