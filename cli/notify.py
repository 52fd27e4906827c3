"""`tcp notify`: tell people what happens."""

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from config.settings import Settings
    from pipelines.notifications.channels import Channels
    from pipelines.notifications.watch import Watcher


def notify(
    test: Annotated[bool, typer.Option("--test", help="Send each address a message, and leave.")] = False,
) -> None:
    """Watch events, the daemon and the database, and tell by mail, Telegram, Discord, webhooks …

    In the foreground; `tcp up` runs it where TCP_NOTIFY_URLS or TCP_HOME/secrets/notify names addresses.
    """
    from config.settings import settings
    from core.errors import BadInput, Unavailable
    from pipelines.notifications.channels import Channels, urls

    given = settings()
    addresses = urls(given)
    if not addresses:
        where = given.home / "secrets" / "notify"
        raise BadInput("TCP_NOTIFY_URLS", f"is not set, and there is no {where}: where shall it go?")
    channels = Channels(addresses)
    if test:
        text = "Notifications of TCP Dashboard reach you here."
        took = {name: channels.send(name, "TCP info: test", text, "info") for name in channels.names()}
        print(f"{sum(took.values())} of {len(took)} took it: {', '.join(took)}")
        if refused := [name for name, taken in took.items() if not taken]:
            raise Unavailable(f"not taken by {', '.join(refused)}")
        return
    _watch(channels)


def _watch(channels: "Channels") -> None:
    from pipelines.logs import configure_logs

    settings = _settings()
    configure_logs(settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    watcher(settings, channels).run(stopping.wait)


def watcher(settings: "Settings", channels: "Channels") -> "Watcher":
    """The one of this home, as its settings say, every URL resolved; it connects to nothing yet."""
    from pipelines.clock import SystemClock
    from pipelines.notifications.desk import Policy
    from pipelines.notifications.notebook import FILE, Notebook
    from pipelines.notifications.watch import Watcher
    from pipelines.warehouse.database import SERVICE_ANSWER_S, engine

    connections = engine(str(settings.database_url), SERVICE_ANSWER_S)
    policy = Policy(settings.notify_level, settings.notify_repeat_minutes * 60, settings.quiet_minutes)
    return Watcher(connections, channels, policy, SystemClock(), Notebook(settings.home / FILE))


def _settings() -> "Settings":
    """Every URL resolved. A PostgreSQL that is away is what this command is there to tell, and so is a
    schema that cannot be migrated: that is for others to do."""
    from cli.stack.ensure import ensure
    from cli.stack.plan import make_plan
    from config.settings import settings
    from core.errors import BadInput, Unavailable

    try:
        return ensure(database=True, migrated=False)
    except (BadInput, Unavailable):
        return make_plan(settings()).resolved
