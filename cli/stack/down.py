"""`tcp down`."""

from cli.stack.home import Home
from cli.stack.shutdown import stop_everything
from config.settings import settings


def down() -> None:
    """Stop everything of this TCP_HOME, leftovers of a killed run included."""
    home = Home(settings().home)
    if not home.path.exists():
        print(f"nothing runs: {home.path} does not exist")
        return
    home.make()
    print("stopped" if stop_everything(home) else "nothing was running")
