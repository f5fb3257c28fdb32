"""Timeouts, retries, room for calls and secrets of tools."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Context, Retry, Tool, ToolCall, ToolOutcome, agent, connect, tool
from agentrt.errors import DefinitionError, EngineLost
from agentrt.heartbeat import beat
from agentrt.secrets import MASK, Secrets, environment_secrets
from agentrt.testing import answer, call
from tests.sdk.test_interception import call_once
from tests.support.scripted_engine import ScriptedEngine

AT_ONCE = Retry(attempts=3, on=(OSError, TimeoutError), delay=0.0)


def once(used: Tool, **arguments: Any) -> tuple[str, ToolCall]:
    shown, program = call_once(used, **arguments)
    [called] = program.tool_calls
    return shown, called


# Retries.


def test_a_failed_attempt_is_followed_by_another() -> None:
    made = []

    @tool(retry=AT_ONCE)
    async def flaky() -> str:
        """Fail twice."""
        made.append(True)
        if len(made) < 3:
            raise ConnectionResetError("gone")
        return "at last"

    shown, called = once(flaky)
    assert shown == "at last"
    assert (called.outcome, called.attempts, called.error) == (ToolOutcome.FINISHED, 3, "")


def test_the_last_attempt_is_what_the_model_reads() -> None:
    @tool(retry=AT_ONCE)
    async def broken() -> None:
        """Fail."""
        raise ConnectionResetError("gone")

    shown, called = once(broken)
    assert shown == "broken failed: ConnectionResetError: gone (the last of 3 attempts)"
    assert (called.outcome, called.attempts) == (ToolOutcome.FAILED, 3)


def test_without_being_asked_nothing_is_tried_again() -> None:
    made = []

    @tool
    async def broken() -> None:
        """Fail."""
        made.append(True)
        raise ConnectionResetError("gone")

    assert once(broken)[1].attempts == len(made) == 1


def test_other_exceptions_are_not_tried_again() -> None:
    @tool(retry=AT_ONCE)
    async def broken() -> None:
        """Fail."""
        raise ValueError("for good")

    shown, called = once(broken)
    assert shown == "broken failed: ValueError: for good"
    assert called.attempts == 1


def test_the_loss_of_the_engine_is_not_tried_again() -> None:
    made = []

    @tool(retry=Retry(delay=0.0))
    async def ask() -> None:
        """Ask another model."""
        made.append(True)
        raise EngineLost("the engine went away")

    with pytest.raises(EngineLost):
        once(ask)
    assert made == [True]


def test_an_attempt_that_hangs_is_tried_again() -> None:
    made = []

    @tool(timeout=0.05, retry=AT_ONCE)
    async def slow_once() -> str:
        """Hang once."""
        made.append(True)
        if len(made) == 1:
            await anyio.sleep_forever()
        return "quick"

    shown, called = once(slow_once)
    assert (shown, called.attempts) == ("quick", 2)


def test_a_call_that_is_not_allowed_was_never_attempted() -> None:
    @tool
    async def count(number: int) -> int:
        """Count."""
        return number

    shown, called = once(count, number="many")
    assert shown.startswith("the arguments of count do not fit")
    assert (called.outcome, called.attempts) == (ToolOutcome.REJECTED, 0)


@given(
    retry=st.builds(
        Retry,
        attempts=st.integers(2, 9),
        delay=st.floats(0, 5),
        factor=st.floats(1, 4),
        longest=st.floats(0, 20),
        jitter=st.floats(0, 1),
    ),
    attempt=st.integers(1, 30),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_pauses_grow_up_to_the_longest_and_vary_by_chance(
    retry: Retry, attempt: int, chance: float
) -> None:
    longest = retry.pause_s(attempt, 0.0)
    assert longest == min(retry.longest, retry.delay * retry.factor ** (attempt - 1))
    assert (1 - retry.jitter) * longest <= retry.pause_s(attempt, chance) <= longest
    assert retry.pause_s(attempt + 1, 0.0) >= longest


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"attempts": 1}, "attempts=1; expected at least 2"),
        ({"delay": -1.0}, "delay=-1.0; expected 0 s or more"),
        ({"factor": 0.5}, "factor=0.5; expected at least 1"),
        ({"longest": -1.0}, "longest=-1.0; expected 0 s or more"),
        ({"jitter": 2.0}, "jitter=2.0; expected from 0 to 1"),
    ],
)
def test_a_senseless_retry_is_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Retry(**limits)


# Time.


def test_all_attempts_together_have_a_limit() -> None:
    @tool(timeout=0.05, total_timeout=0.2, retry=Retry(attempts=100, delay=0.01))
    async def hang() -> None:
        """Hang."""
        await anyio.sleep_forever()

    shown, called = once(hang)
    assert shown.startswith("hang was stopped: it did not finish within 0.2 s in all (the last of ")
    assert called.outcome is ToolOutcome.TIMED_OUT
    assert 1 < called.attempts < 10
    assert 0.2 <= called.seconds < 2


@pytest.mark.parametrize("is_async", [True, False])
def test_a_tool_that_gives_signs_of_life_may_take_its_time(is_async: bool) -> None:
    @tool(timeout=None, heartbeat_timeout=0.5)
    async def busy_async(ctx: Context) -> str:
        """Work."""
        for _ in range(8):
            await anyio.sleep(0.1)
            ctx.heartbeat()
        return "done"

    @tool(timeout=None, heartbeat_timeout=0.5)
    def busy_sync(ctx: Context) -> str:
        """Work."""
        for _ in range(8):
            time.sleep(0.1)
            ctx.heartbeat()
        return "done"

    shown, called = once(busy_async if is_async else busy_sync)
    assert shown == "done"
    assert called.seconds > 0.5


def test_a_silent_tool_is_stopped() -> None:
    @tool(timeout=None, heartbeat_timeout=0.1)
    async def silent(ctx: Context) -> None:
        """Fall asleep."""
        ctx.heartbeat()
        await anyio.sleep_forever()

    shown, called = once(silent)
    assert shown == "silent was stopped: it gave no sign of life for 0.1 s"
    assert called.outcome is ToolOutcome.TIMED_OUT


def test_a_sync_tool_that_was_left_behind_may_go_on_giving_signs() -> None:
    go_on, done = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    @tool(timeout=0.05, heartbeat_timeout=1)
    def late(ctx: Context) -> None:
        """Be late."""
        go_on.wait(10)
        try:
            ctx.heartbeat()
        except BaseException as error:  # noqa: BLE001 - none is expected
            errors.append(error)
        done.set()

    once(late)
    go_on.set()
    assert done.wait(10)
    assert errors == []


def test_a_sign_of_life_outside_of_a_tool_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="inside of a tool call"):
        beat()


# Room.


def at_once(used: Tool, number: int) -> list[ToolCall]:
    """The calls of so many programs that all start now."""

    @agent(tools=[used])
    async def caller(ctx: Context) -> None:
        """You call."""
        await ctx.loop("call it")

    async def main(url: str) -> list[ToolCall]:
        async with connect(url) as runtime:
            async with anyio.create_task_group() as tasks:
                for _ in range(number):
                    tasks.start_soon(runtime.run, caller)
            return [program.tool_calls[0] for program in runtime.programs]

    with ScriptedEngine([call(used.name)] * number + [answer("done")] * number) as engine:
        return anyio.run(main, engine.url)


def test_so_many_calls_run_at_once_and_no_more() -> None:
    running, most = 0, 0

    @tool(concurrency=2)
    async def work() -> None:
        """Work."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.05)
        running -= 1

    calls = at_once(work, 6)
    assert most == 2
    assert all(called.outcome is ToolOutcome.FINISHED for called in calls)
    waits = sorted(called.waited_s for called in calls)
    assert waits[0] < 0.04 < waits[-1]
    assert all(called.waited_s <= called.seconds for called in calls)


def test_waiting_for_room_does_not_count_against_the_timeout() -> None:
    @tool(concurrency=1, timeout=0.3)
    async def work() -> str:
        """Work."""
        await anyio.sleep(0.2)
        return "done"

    assert {called.outcome for called in at_once(work, 3)} == {ToolOutcome.FINISHED}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"total_timeout": 0}, "total_timeout=0 s; expected more than 0, or None"),
        ({"heartbeat_timeout": -1}, "heartbeat_timeout=-1 s; expected more than 0, or None"),
        ({"concurrency": 0}, "concurrency=0; expected at least 1"),
        ({"effect": "delete"}, 'effect=\'delete\'; expected "read" or "write"'),
    ],
)
def test_senseless_limits_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):

        @tool(**limits)
        def work() -> None:
            """Work."""


# Secrets.


def test_secrets_of_the_environment_reach_neither_model_nor_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "hunter2hunter2")

    @tool(output_limit=30)
    async def leak(word: str) -> str:
        """Leak."""
        if word == "raise":
            raise ValueError("denied for hunter2hunter2")
        return "the key is hunter2hunter2 as it is"

    shown, called = once(leak, word="return")
    assert shown == f"the key is {MASK} as it is"
    shown, called = once(leak, word="raise")
    assert called.error == shown
    assert "hunter2" not in shown
    shown, _called = once(leak, wrong="hunter2hunter2")
    assert "hunter2" not in shown


WORDS = st.text("ab1.*", max_size=20)


@given(secrets=st.lists(WORDS.filter(lambda word: len(word) >= 8), max_size=5), text=WORDS)
def test_no_secret_is_left_in_a_text(secrets: list[str], text: str) -> None:
    masked = Secrets(secrets).mask(text.join(["", *secrets, *reversed(secrets), ""]))
    assert not any(secret in masked for secret in secrets)
    assert Secrets(secrets).mask(masked) == masked
    assert masked or not text


def test_what_counts_as_a_secret() -> None:
    environment = {
        "OPENAI_API_KEY": "sk-abcdefgh",
        "github_token": "ghp_abcdefgh",
        "DB_PASSWORD": "short",
        "KEYBOARD": "qwertzuiop",
        "PATH": "/usr/bin:/bin",
    }
    found = environment_secrets(environment)
    assert found == ["sk-abcdefgh", "ghp_abcdefgh", "short"]
    assert Secrets(found).mask("sk-abcdefgh ghp_abcdefgh short") == f"{MASK} {MASK} short"


def test_a_secret_is_found_in_json() -> None:
    secret = 'pa"ss\\wörd'
    for ascii_only in (True, False):
        masked = Secrets([secret]).mask(json.dumps({"key": secret}, ensure_ascii=ascii_only))
        assert json.loads(masked) == {"key": MASK}


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Secrets(["password", "password123"]).mask("password123 password") == f"{MASK} {MASK}"
