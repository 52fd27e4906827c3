"""A webhook that takes notifications, or refuses them, for whoever tells them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipelines.notifications.watch import Watcher


class Webhook:
    """Takes what apprise posts, if it is not longer than Discord takes; `refuses` all while told to, and what
    `unloved` words. notes: of the watchers that tell it; watcher: the last of them"""

    def __init__(self, notes: Path, port: int = 0) -> None:
        self.messages: list[dict] = []
        self.notes = notes
        self.watcher: Watcher | None = None
        self.refuses, self.unloved = False, "\0"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                words = document["title"] + document["message"]
                refused = outer.refuses or len(words) > 2_000 or outer.unloved in words
                if not refused:
                    outer.messages.append(document)
                self.send_response(400 if refused else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.end_watcher()
        self.server.shutdown()
        self.server.server_close()

    def end_watcher(self) -> None:
        if self.watcher is not None:
            self.watcher.close()

    def bodies(self) -> list[str]:
        return [message["message"] for message in self.messages]
