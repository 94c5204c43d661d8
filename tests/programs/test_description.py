"""What the server does is what its description says, asked by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from tests.running import DEADLINE_S, Running, eventually
from tests.test_api import DESCRIPTION
from tests.web import post


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("described"))
    post(running.address("http"), {"tag": "room1", "value": 20.3, "unit": "C", "ts": 1700000000})
    running.say("#source web1\n#columns cpu:% mem:%\n1 nan\n3 4\n")
    eventually(lambda: "web1" in running.store, "the source")
    yield running
    assert running.stop() == 0


@schemathesis.serializer("application/x-ndjson")
def as_lines(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode(errors="replace")


# Streams have no end, so tests/test_api.py looks at them. Where no alarms run, as here, 503 is their right answer.
schema = schemathesis.openapi.from_dict(DESCRIPTION).exclude(path_regex="^/api/(stream|alarms)")
NOT_OURS = [  # what the description cannot say: that parameters and keys beyond ours do no harm
    schemathesis.checks.negative_data_rejection,
    schemathesis.checks.positive_data_acceptance,  # units, tags and times have rules that JSON Schema has not
]


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_server_does_what_its_description_says(case: schemathesis.Case[Any], described: Running) -> None:
    """Whatever is asked: a status, a type and a shape that the description names, and never a 500."""
    host, port = described.address("http")
    case.call_and_validate(base_url=f"http://{host}:{port}", excluded_checks=NOT_OURS, timeout=DEADLINE_S)
