"""Work of people as Dagster runs, where Dagster of this installation is up: over its GraphQL, never imported.

Whoever launches there gets retries, history and logs of Dagster's own. Where it is not up, nothing is lost:
the caller does the work itself.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from config.settings import Settings
from core.errors import TcpError, Unavailable

LOCATION = {"repositoryLocationName": "tcp", "repositoryName": "__repository__"}
UP_S = 1.0
ANSWER_S = 30.0
POLL_S = 2.0
SILENT_S = 600.0
"""How long Dagster may not answer about what it does: it is restarted, or busy."""
ENDED = frozenset({"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"})
WELL = frozenset({"COMPLETED", "COMPLETED_SUCCESS"})
"""Of backfills."""
FAILED, DONE, CANCELLED, CANCELLING = "FAILURE", "SUCCESS", "CANCELED", "CANCELING"
WAITING = frozenset({"NOT_STARTED", "QUEUED", "STARTING"})
"""Of runs."""

_INSTANCE = "{ instance { info } }"
_LAUNCH = """mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
_BACKFILL = """mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_RUNS = """query Runs($most: Int!) { runsOrError(limit: $most) { ... on Runs { results {
  runId jobName status creationTime startTime endTime assetSelectionCount
  assetSelection(limit: 1) { path } } } } }"""
_RUN = """query Run($id: ID!) { runOrError(runId: $id) { __typename ... on Run { jobName status
  assetMaterializations { metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
_TERMINATE = """mutation Terminate($id: String!) { terminateRun(runId: $id) {
  __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
_STATE = """query State($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status error { message } } } }"""


class NotHeard(Unavailable):
    """Dagster did not say for long what became of its work, which may go on."""


@dataclass(frozen=True, slots=True)
class HandedRun:
    """A run that was launched for somebody: Dagster's id of it, and where it is to be seen."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class DagsterRun:
    """A run as its list shows it. name: the job, or what it materialises; status: Dagster's word; times:
    epoch seconds, None before it began or ended."""

    name: str
    status: str
    asked: float
    began: float | None
    ended: float | None
    address: str


class RunFailed(TcpError):
    """A run failed in Dagster, which has the reason."""


class DagsterRuns:
    """Dagster's webserver of this machine, if it is the one of this TCP_HOME."""

    def __init__(self, settings: Settings, silent_s: float = SILENT_S) -> None:
        self.url = f"http://127.0.0.1:{settings.dagster_port}"
        self._folder = str(settings.home / "dagster")
        self._silent_s = silent_s
        self._closed = Event()

    def is_up(self) -> bool:
        """Whether it answers and works on this installation: the port may be another one's."""
        try:
            info = self._ask(_INSTANCE, {}, UP_S)["instance"]["info"]
        except Unavailable:
            return False
        return f"base_dir: {self._folder}\n" in info

    def launch(self, job: str, op: str, config: Mapping[str, Any]) -> HandedRun | None:
        """Launch a job of one op; None when Dagster refuses it."""
        params = {
            "selector": {**LOCATION, "jobName": job},
            "runConfigData": {"ops": {op: {"config": dict(config)}}},
            "mode": "default",
        }
        said = self._ask(_LAUNCH, {"params": params}, ANSWER_S)["launchPipelineExecution"]
        return self._handed(said["run"]["runId"]) if said["__typename"] == "LaunchRunSuccess" else None

    def backtest(self, run_id: str) -> tuple[HandedRun, str, str | None] | None:
        """A run of the job of backtests, Dagster's word for its state, and the id of the backtest that it
        stored, None until then. None where there is no such run; Unavailable while no Dagster of this
        installation is up: who asks was handed the run by one."""
        if not self.is_up():
            raise Unavailable(f"Dagster, which would know the run {run_id}, is not up")
        said = self._ask(_RUN, {"id": run_id}, ANSWER_S)["runOrError"]
        if said["__typename"] != "Run" or said["jobName"] != "backtest_job":
            return None
        entries = [entry for made in said["assetMaterializations"] for entry in made["metadataEntries"]]
        stored = next((entry["text"] for entry in entries if entry["label"] == "run_id"), None)
        return self._handed(run_id), said["status"], stored

    def terminate(self, run_id: str) -> str | None:
        """Take a run out of the queue, or interrupt its process; None, or why Dagster refuses."""
        said = self._ask(_TERMINATE, {"id": run_id}, ANSWER_S)["terminateRun"]
        if said["__typename"] == "TerminateRunSuccess":
            return None
        return str(said.get("message", said["__typename"]))

    def newest(self, most: int) -> list[DagsterRun] | None:
        """The newest runs, the newest first; None where Dagster of this installation is not up."""
        if not self.is_up():
            return None
        rows = self._ask(_RUNS, {"most": most}, ANSWER_S)["runsOrError"].get("results", [])
        return [
            DagsterRun(
                _named(row),
                row["status"],
                row["creationTime"],
                row["startTime"],
                row["endTime"],
                f"{self.url}/runs/{row['runId']}",
            )
            for row in rows
        ]

    def backfill(
        self,
        asset: str,
        partitions: Sequence[str],
        config: Mapping[str, Any],
        note: Callable[[str, bool], None],
    ) -> str | None:
        """Launch a backfill and wait for its end: where it is to be seen; None when Dagster refuses it, as
        for days that have no partition. `note` is told the address at once, and each time whether Dagster
        answers. Unavailable when it failed, NotHeard when Dagster did not answer for minutes."""
        params = {
            "assetSelection": [{"path": [asset]}],
            "partitionNames": list(partitions),
            "runConfigData": {"ops": {asset: {"config": dict(config)}}} if config else {},
        }
        said = self._ask(_BACKFILL, {"params": params}, ANSWER_S)["launchPartitionBackfill"]
        if said["__typename"] != "LaunchBackfillSuccess":
            return None
        address = f"{self.url}/runs/b/{said['backfillId']}"
        note(address, True)
        if self._end_of(said["backfillId"], address, note) not in WELL:
            raise Unavailable(f"failed in Dagster: {address}")
        return address

    def _end_of(self, backfill: str, address: str, note: Callable[[str, bool], None]) -> str:
        """The state that a backfill ends in. An answer that does not come says nothing of it."""
        heard = time.monotonic()
        while (state := self._state(backfill)) not in ENDED:
            now = time.monotonic()
            heard = now if state else heard
            note(address, bool(state))
            if now - heard > self._silent_s:
                raise NotHeard(
                    f"Dagster has not answered for {self._silent_s / 60:.0f} minutes and may go on with it"
                )
            if self._closed.wait(POLL_S):
                raise NotHeard("the dashboard was stopped; Dagster goes on")
        return state

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()

    def _handed(self, run_id: str) -> HandedRun:
        return HandedRun(run_id, f"{self.url}/runs/{run_id}")

    def _state(self, backfill: str) -> str:
        """Dagster's word for it, empty where it gives none now."""
        try:
            said = self._ask(_STATE, {"id": backfill}, ANSWER_S)["partitionBackfillOrError"]
        except Unavailable:
            return ""
        return str(said.get("status", ""))

    def _ask(self, query: str, variables: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)  # noqa: S310 - http://, ours
        try:
            answer = _read(request, timeout_s)
        except (OSError, ValueError) as error:
            raise Unavailable(f"Dagster does not answer: {error}") from None
        if "errors" in answer or not isinstance(answer.get("data"), dict):
            raise Unavailable(f"Dagster refused: {answer.get('errors')}")
        data: dict[str, Any] = answer["data"]
        return data


def _named(row: Mapping[str, Any]) -> str:
    """`backup_job`; `candle_backfill`, `dbt_models and 11 more` for a run of assets without a job."""
    if not row["jobName"].startswith("__") or not row["assetSelection"]:
        return str(row["jobName"])
    first, more = row["assetSelection"][0]["path"][-1], row["assetSelectionCount"] - 1
    return f"{first} and {more} more" if more else str(first)


def _read(request: urllib.request.Request, timeout_s: float) -> Any:
    """The document of the answer; Dagster gives its refusals the status 500."""
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310 - http://, ours
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)
