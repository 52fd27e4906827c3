"""A stand-in for Dagster's webserver: what it is told to answer, and what it was asked."""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webserver:
    """Answers GraphQL requests as Dagster's webserver does, the launches with what is queued."""

    def __init__(self, folder):
        self.asked = []
        self.runs = []
        self.one = {"__typename": "RunNotFoundError"}
        self.launches = deque()
        self.states = deque()
        self.terminations = deque()
        self._info = f"local_artifact_storage:\n  config:\n    base_dir: {folder}\nrun_storage: x\n"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, document = outer.answer(body["query"], body["variables"])
                if document is None:
                    return
                text = json.dumps({"data": document}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, query, variables):
        """Refusals have the status 500, as Dagster's have; a state that is None is an answer that does not
        come."""
        if "instance" in query:
            return 200, {"instance": {"info": self._info}}
        if "Terminate(" in query:
            self.asked.append(variables["id"])
            return 200, {"terminateRun": self.terminations.popleft()}
        if "Runs(" in query:
            return 200, {"runsOrError": {"results": self.runs[: variables["most"]]}}
        if "Run(" in query:
            return 200, {"runOrError": self.one}
        if "State(" in query:
            state = self.states.popleft()
            return 200, {"partitionBackfillOrError": {"status": state}} if state else None
        self.asked.append(variables["params"])
        name = "launchPartitionBackfill" if "Backfill" in query else "launchPipelineExecution"
        found = self.launches.popleft()
        return (500 if found["__typename"] == "PythonError" else 200), {name: found}

    def close(self):
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
