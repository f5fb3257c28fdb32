"""Our metrics after SGLang's."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.testclient import TestClient

from agentrt_engine.sglang.http import metrics
from tests.engine.http.server import FakeScheduler

EXPECTED = {
    'agentrt_kv_tokens{kind="free"}': 300,
    'agentrt_kv_tokens{kind="leased"}': 500,
    'agentrt_kv_tokens{kind="running"}': 200,
    'agentrt_programs{state="running"}': 2,
    'agentrt_programs{state="paused"}': 5,
    'agentrt_turns{state="running"}': 2,
    'agentrt_turns{state="waiting"}': 1,
    'agentrt_leased_tokens{key="abcdef01"}': 500,
    "agentrt_memory_price": 0.25,
    'agentrt_programs_ended_total{reason="final"}': 2,
    'agentrt_reclaims_total{reason="admission"}': 3,
    'agentrt_reclaimed_tokens_total{reason="admission"}': 64,
    'agentrt_leases_total{event="granted"}': 7,
    'agentrt_hints_total{outcome="applied"}': 5,
    'agentrt_prompt_tokens_total{kind="hit"}': 60,
    'agentrt_prompt_tokens_total{kind="lost"}': 10,
    'agentrt_prompt_tokens_total{kind="miss"}': 30,
    'agentrt_pause_seconds_total{kind="actual"}': 8,
    'agentrt_pause_seconds_total{kind="predicted"}': 6,
    'agentrt_pause_seconds_total{kind="abs_error"}': 3,
    'agentrt_account_seconds_total{kind="prefill"}': 0,
    'agentrt_account_seconds_total{kind="recompute"}': 0,
    'agentrt_account_seconds_total{kind="decode"}': 1.5,
    'agentrt_account_seconds_total{kind="held"}': 0,
    "agentrt_programs_started_total": 9,
    "agentrt_turns_ended_total": 0,
    "agentrt_retractions_total": 0,
    "agentrt_flushes_total": 0,
    "agentrt_output_tokens_total": 0,
    "agentrt_pauses_total": 4,
    "agentrt_held_token_seconds_total": 0,
}


def samples(text: str, *, open_metrics: bool = False) -> dict[str, float]:
    """Name and label → value, theirs and ours."""
    parser: Any = parse_open if open_metrics else parse
    return {
        sample.name + "".join(f'{{{name}="{value}"}}' for name, value in sample.labels.items()): (
            sample.value
        )
        for family in parser(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_ours_come_after_theirs(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert samples(answer.text) == {"sglang_requests_total": 3} | EXPECTED
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "content-encoding" not in answer.headers


def test_openmetrics_has_one_end(client: TestClient) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.count("# EOF") == 1 and answer.text.endswith("# EOF\n")
    assert samples(answer.text, open_metrics=True) == {"sglang_requests_total": 3} | EXPECTED


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_without_an_answer_theirs_still_come(
    client: TestClient, scheduler: FakeScheduler, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    scheduler.silent = True
    monkeypatch.setattr(metrics, "SCRAPE_S", 0.01)
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    is_open = "openmetrics" in accept
    assert samples(answer.text, open_metrics=is_open) == {"sglang_requests_total": 3}


def test_other_methods_are_theirs(client: TestClient, scheduler: FakeScheduler) -> None:
    client.head("/metrics")
    client.get("/metrics/else")
    assert scheduler.asked == []
