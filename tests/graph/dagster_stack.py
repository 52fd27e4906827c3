"""Dagster as `tcp up` runs it, for one test module: code server, webserver and daemon."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from config.settings import PROJECT_ROOT

LOCATION = {"repositoryLocationName": "tcp", "repositoryName": "__repository__"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
PATIENCE_S = 900
"""Longest wait for a run. Two run at a time, and whoever asks first, in whatever order the tests are, waits
for all that were launched before: twelve starts of a process, of a minute each on a busy machine."""

LAUNCH = """mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
LAUNCH_BACKFILL = """mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
RUN = """query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status
  assetMaterializations { assetKey { path } partition }
  assetCheckEvaluations: eventConnection(limit: 1000) { events {
    __typename ... on AssetCheckEvaluationEvent { evaluation { checkName success } }
    ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } }
    ... on RunFailureEvent { message } } } } } }"""
BACKFILL_RUNS = """query Runs($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status error { message } runs(limit: 20) { id status } } } }"""
NEWEST_RUN = """query Newest($asset: [String!]!) { assetOrError(assetKey: {path: $asset}) { ... on Asset {
  assetMaterializations(limit: 1) { runId } } } }"""
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def program(name: str) -> str:
    """A program pip put beside this interpreter."""
    return str(Path(sys.executable).parent / name)


def wait(what: str, seconds: float, ready: Callable[[], Any]) -> Any:
    """Poll until `ready` returns something true, and return it; AssertionError names `what`."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)  # each look costs the webserver some 20 ms of a core that the runs want
    return found


@dataclass
class DagsterStack:
    """The processes, and what a browser would ask of them."""

    home: Path
    database_url: str
    port: int
    code_port: int
    exchange: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What `tcp up` hands to each of Dagster's processes."""
        url = make_url(self.database_url)
        return {
            **os.environ,
            "TCP_HOME": str(self.home),
            "TCP_DATABASE_URL": self.database_url,
            "TCP_LAKE_URL": str(self.home / "lake"),
            "TCP_OKX_REST_URL": self.exchange["rest"],
            "TCP_OKX_WS_URL": self.exchange["ws"],
            "TCP_SYMBOLS": ",".join(SYMBOLS),
            "TCP_CONFIG_DIR": str(self.home / "config"),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "TCP_DAGSTER_DATABASE_URL": url.set(
                drivername="postgresql+psycopg2", database=f"{url.database}_dagster"
            ).render_as_string(hide_password=False),
            "TCP_DAGSTER_CODE_PORT": str(self.code_port),
        }

    def start(self) -> None:
        """Start the three processes and wait until the webserver has loaded the definitions."""
        (self.home / "dagster").mkdir()
        shutil.copy(PROJECT_ROOT / "config" / "dagster" / "dagster.yaml", self.home / "dagster")
        code = ("code-server", "start", "-h", "127.0.0.1", "-p", str(self.code_port))
        self.spawn(
            "code", program("dagster"), *code, "-m", "orchestration.definitions", "-d", str(PROJECT_ROOT)
        )
        workspace = ("-w", str(PROJECT_ROOT / "workspace.yaml"))
        self.spawn(
            "webserver", program("dagster-webserver"), "-h", "127.0.0.1", "-p", str(self.port), *workspace
        )
        self.spawn("daemon", program("dagster-daemon"), "run", *workspace)
        wait("the code location", 240, self._loaded)

    def spawn(self, name: str, *command: str) -> None:
        """Start a process in a session of its own; its output goes to a file of the home."""
        with (self.home / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=self.home,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def stop(self) -> None:
        """End every process with all its children."""
        for process in self.processes:
            _signal_group(process, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _signal_group(process, signal.SIGKILL)
                process.wait(10)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A GraphQL request, as the UI sends it."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def launch(
        self, job: str, config: Mapping[str, Any] | None = None, partition: Mapping[str, str] | None = None
    ) -> str:
        """Launch a job as the launchpad does; the run's id. partition: {"date": …, "symbol": …}."""
        tags = []
        if partition is not None:
            key = "|".join(partition[name] for name in sorted(partition))
            tags = [{"key": "dagster/partition", "value": key}]
            tags += [
                {"key": f"dagster/partition/{name}", "value": value} for name, value in partition.items()
            ]
        params = {
            "selector": {**LOCATION, "jobName": job},
            "runConfigData": {} if config is None else config,
            "mode": "default",
            "executionMetadata": {"tags": tags},
        }
        launched = self.ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def backfill(self, asset: str, partitions: Sequence[str], config: Mapping[str, Any] | None = None) -> str:
        """Launch a backfill of an asset as the partition dialog does; its id."""
        params = {
            "assetSelection": [{"path": [asset]}],
            "partitionNames": list(partitions),
            "runConfigData": {} if config is None else config,
        }
        launched = self.ask(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def ended(self, run_id: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The run once it has ended: status, materialised partitions, checks {name: passed}, errors."""
        wait(f"run {run_id}", seconds, lambda: self._status(run_id) in ENDED)
        run = self.ask(RUN, id=run_id)["runOrError"]
        events = run["assetCheckEvaluations"]["events"]
        return {
            "status": run["status"],
            "assets": {"/".join(event["assetKey"]["path"]) for event in run["assetMaterializations"]},
            "partitions": {event["partition"] for event in run["assetMaterializations"]},
            "checks": {
                event["evaluation"]["checkName"]: event["evaluation"]["success"]
                for event in events
                if event["__typename"] == "AssetCheckEvaluationEvent"
            },
            "errors": [event for event in events if event["__typename"].endswith("FailureEvent")],
        }

    def backfill_runs(
        self, backfill_id: str, count: int, seconds: float = PATIENCE_S
    ) -> list[dict[str, Any]]:
        """The runs of a backfill once there are `count` and all have ended; the backfill itself is closed by
        the next look of Dagster's daemon, up to 30 s later."""

        def completed() -> list[dict[str, Any]] | None:
            found = self.ask(BACKFILL_RUNS, id=backfill_id)["partitionBackfillOrError"]
            assert not found["error"], found
            runs = found["runs"]
            return runs if len(runs) == count and all(run["status"] in ENDED for run in runs) else None

        runs: list[dict[str, Any]] = wait(f"backfill {backfill_id}", seconds, completed)
        return runs

    def materialised_by(self, asset: str, seconds: float = PATIENCE_S) -> str:
        """The run that materialised an asset last, once there is one."""

        def newest() -> str | None:
            found = self.ask(NEWEST_RUN, asset=asset.split("/"))["assetOrError"]["assetMaterializations"]
            return found[0]["runId"] if found else None

        return str(wait(f"a materialisation of {asset}", seconds, newest))

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    def _status(self, run_id: str) -> str:
        return str(self.ask(STATUS, id=run_id)["runOrError"]["status"])

    def _loaded(self) -> bool:
        for process in self.processes:
            assert process.poll() is None, f"a process of the stack ended: see the logs in {self.home}"
        try:
            entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except OSError:
            return False
        if not entries or entries[0]["loadStatus"] != "LOADED":
            return False
        found = entries[0]["locationOrLoadError"]
        # The code server may answer after the webserver first asked; anything else is an error of ours.
        assert found["__typename"] == "RepositoryLocation" or "UNAVAILABLE" in found["message"], found[
            "message"
        ]
        return bool(found["__typename"] == "RepositoryLocation")


def _signal_group(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        return
