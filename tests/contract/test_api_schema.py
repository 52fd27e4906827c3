"""The OpenAPI document is true: what it says may be asked is asked, and every answer is as it says."""

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.dashboard_seed import seed
from tests.dashboard_server import running, until
from tests.research_seed import fill_research

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
EXAMPLES = 6
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture
def api(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database with research on it."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, NOW_MS, minutes=30)
        fill_research(client.database, NOW_MS)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 20, "the bots")
        yield client


def test_every_answer_is_one_that_the_document_states(api):
    """Generated parameters and bodies, right and wrong ones: no 5xx, and no status, type or shape that is not
    documented."""
    schema = schemathesis.openapi.from_dict(api.get("/api/openapi.json").json)
    operations = [result.ok() for result in schema.get_all_operations()]
    found = [
        problem
        for operation in operations
        for mode in GenerationMode
        for problem in _problems(operation, mode, api.url)
    ]
    assert not found, "\n".join(found)
    assert len(operations) > 30


def _problems(operation, mode, url):
    """What is not as documented, a line each."""

    @hypothesis.seed(7)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def judged(case):
        answer = case.call(base_url=url)
        case.validate_response(answer, checks=list(CHECKS))

    try:
        judged()
    except Unsatisfiable:
        return []  # it takes nothing that could be wrong
    except FailureGroup as group:
        return [f"{operation.label}: {error.title}: {error.message[:300]}" for error in group.exceptions]
    return []
