"""Where notices go: apprise's URLs, from the environment or from a file that only its owner reads."""

import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

from config.settings import Settings
from core.errors import BadInput
from pipelines.notifications.desk import MESSAGE

if TYPE_CHECKING:
    from apprise import NotifyBase


def urls(settings: Settings) -> list[str]:
    """Every address, those of TCP_NOTIFY_URLS first; none where nothing is configured.

    BadInput for a file that others can read.
    """
    found = (settings.notify_urls or "").split()
    path = settings.notify_file or settings.home / "secrets" / "notify"
    if not path.exists():
        if settings.notify_file is not None:
            raise BadInput("TCP_NOTIFY_FILE", f"{path} does not exist")
        return found
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput("TCP_NOTIFY_FILE", f"{path} holds secrets and others may read it: chmod 600 {path}")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [*found, *(line for line in lines if line and not line.startswith("#"))]


class Channels:
    """The addresses, checked. What is wrong with one is said without its secrets."""

    def __init__(self, addresses: list[str]) -> None:
        from apprise import Apprise

        self._channels: dict[str, NotifyBase] = {}
        seen: Counter[str] = Counter()
        for number, address in enumerate(addresses, start=1):
            channel = Apprise.instantiate(address)
            if channel is None:
                scheme = address.partition("://")[0][:20] if "://" in address else "no scheme"
                raise BadInput(
                    "TCP_NOTIFY_URLS",
                    f"address {number} ({scheme}) is not one that apprise knows: mailtos://…, tgram://…, "
                    "discord://…, jsons://…",
                )
            name = _name(channel)
            seen[name] += 1
            self._channels[name if seen[name] == 1 else f"{name} ({seen[name]})"] = channel

    def names(self) -> list[str]:
        """Each address without its secrets; those that look alike then are numbered."""
        return list(self._channels)

    def room(self, name: str) -> int:
        """Characters of a message that this one takes, title included: more would be refused as a whole."""
        return min(MESSAGE, int(self._channels[name].body_maxlen))

    def send(self, name: str, title: str, text: str, level: str) -> bool:
        """Tell one of them; whether it took it. Waits for it, some seconds at most."""
        from apprise import NotifyFormat, NotifyType

        kind = {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "error": NotifyType.FAILURE}[level]
        channel = self._channels[name]
        return bool(channel.notify(body=text, title=title, notify_type=kind, body_format=NotifyFormat.TEXT))


def _name(channel: Any) -> str:
    """apprise's own wording without secrets, and without its options."""
    return str(channel.url(privacy=True)).partition("?")[0]
