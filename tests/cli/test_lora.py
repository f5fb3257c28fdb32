"""`agentrt lora`: what sharing does to replies, against a server whose divergence is known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App, CycloptsError

from agentrt.cli import console, lora
from agentrt.errors import (
    AgentrtError,
    EngineUnreachable,
    ModelNotFound,
    ModelRequestFailed,
    PluginInactive,
    SettingError,
)
from agentrt.lora.prompts import built_in_prompts
from tests.support.fake_servers import FakeServer
from tests.support.loopback_app import served, unused_url
from tests.support.scoring_server import ScoringServer, expected, greedy

TOKENS = 5

PROMPTS = [
    {"text": "The work so far:"},
    {"messages": [{"role": "user", "content": "Go on"}], "continuation": "done!"},
]


def run(*arguments: str) -> None:
    app = App(console=console.out)
    app.command(lora.app)
    app(["lora", *arguments], exit_on_error=False, print_error=False, result_action="return_value")


def refused(kind: type[AgentrtError], *arguments: str) -> AgentrtError:
    with pytest.raises(kind) as caught:
        run(*arguments)
    return caught.value


def prompts_file(folder: Path, *lines: object) -> str:
    path = folder / "prompts.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[ScoringServer, str]]:
    server = ScoringServer()
    with served(server.app()) as url:
        yield server, url


@pytest.fixture(scope="module")
def measured(
    server: tuple[ScoringServer, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Of all adapters on `PROMPTS`."""
    folder = tmp_path_factory.mktemp("measured")
    return divergence(server[1], folder)


def divergence(url: str, folder: Path, *arguments: str) -> dict[str, Any]:
    file = prompts_file(folder, *PROMPTS)
    target = folder / "result.json"
    run(
        *("divergence", url, "--prompts", file, "--tokens", str(TOKENS)),
        *("--json", str(target), *arguments),
    )
    document: dict[str, Any] = json.loads(target.read_text())
    return document


def known_kl(producer: str, consumer: str, token: int) -> float:
    exact, off = (expected(consumer, token, source) for source in (consumer, producer))
    return math.fsum(math.exp(p) * (p - q) for p, q in zip(exact, off, strict=True))


def tokens_before() -> dict[str, list[int]]:
    """By consumer: the token before each one of the replies."""
    given = [ord(character) for character in "done!"]
    return {
        adapter: [ord(":"), *greedy(adapter, ord(":"), TOKENS)[:-1], ord("\n"), *given[:-1]]
        for adapter in ("coder", "planner")
    }


def test_the_divergence_of_every_pair_is_what_it_is(measured: dict[str, Any]) -> None:
    assert (measured["lora_sharing"], measured["prompts"]) == ("base", 2)
    names = ("coder", "planner")
    pairs = {(pair["producer"], pair["consumer"]): pair for pair in measured["pairs"]}
    assert list(pairs) == [(producer, consumer) for producer in names for consumer in names]
    for (producer, consumer), pair in pairs.items():
        found = [value for comparison in pair["comparisons"] for value in comparison["kl"]]
        known = [known_kl(producer, consumer, token) for token in tokens_before()[consumer]]
        assert len(found) == 2 * TOKENS
        if producer == consumer:
            assert max(found) == 0
            assert (pair["agreement"], pair["changed_replies"]) == (1, 0)
        else:
            assert all(value <= true + 1e-6 for value, true in zip(found, known, strict=True))
            assert pair["mean_kl"] == pytest.approx(sum(known) / len(known), rel=0.02)
            assert pair["max_kl"] == max(found) > 0.1


def test_a_reply_changes_where_the_best_token_does(measured: dict[str, Any]) -> None:
    pairs = {(pair["producer"], pair["consumer"]): pair for pair in measured["pairs"]}
    pair = pairs["planner", "coder"]
    same = [
        _best(expected("coder", token, "planner")) == _best(expected("coder", token, "coder"))
        for token in tokens_before()["coder"]
    ]
    assert False in same
    assert pair["agreement"] == sum(same) / len(same)
    firsts = [half.index(False) + 1 for half in (same[:TOKENS], same[TOKENS:]) if False in half]
    assert pair["first_difference"] == min(firsts)
    assert pair["changed_replies"] == len(firsts)


def test_only_the_last_token_of_a_context_is_computed_again(measured: dict[str, Any]) -> None:
    for pair in measured["pairs"]:
        assert [(c["context_tokens"], c["reused_tokens"]) for c in pair["comparisons"]] == [
            (17, 16),
            (6, 5),
        ]


def test_requests_that_do_not_belong_together_share_no_namespace(
    server: tuple[ScoringServer, str], tmp_path: Path
) -> None:
    server[0].generated.clear()
    divergence(server[1], tmp_path)
    together: dict[str, set[tuple[str, bool]]] = {}
    for body in server[0].generated:
        tag = body["sampling_params"]["custom_params"]["agentrt"]
        shares = tag["lora_sharing"]
        together.setdefault(body["extra_key"], set()).add((body["lora_path"], shares))
    # One for each prompt and producer, where all adapters share; one for each that is alone.
    shared = [who for who in together.values() if {share for _, share in who} == {True}]
    alone = [who for who in together.values() if {share for _, share in who} == {False}]
    assert [len(who) for who in shared] == [2] * 4
    assert [len(who) for who in alone] == [1] * 4
    assert len(shared) + len(alone) == len(together)


def test_a_table_for_people(
    server: tuple[ScoringServer, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    divergence(server[1], tmp_path, "--adapter", "coder", "--adapter", "planner")
    shown = capsys.readouterr().out
    assert "sharing base, 2 prompts" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["coder", "itself", "10", "91.3%", "0", "0", "0", "100.0%", "0/2", "–"] in lines
    assert ["planner", "coder"] in [line[:2] for line in lines]
    assert "from below: the 256 likeliest tokens" in shown


def test_one_adapter_alone_is_compared_with_itself(
    server: tuple[ScoringServer, str], tmp_path: Path
) -> None:
    document = divergence(server[1], tmp_path, "--adapter", "coder")
    assert [(p["producer"], p["consumer"]) for p in document["pairs"]] == [("coder", "coder")]


def test_what_an_engine_lacks_is_named(
    server: tuple[ScoringServer, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = prompts_file(tmp_path, *PROMPTS)

    def message(*arguments: str, **lacks: object) -> AgentrtError:
        with monkeypatch.context() as changed:
            for name, value in lacks.items():
                changed.setattr(server[0], name, value)
            return refused(SettingError, "divergence", server[1], "--prompts", file, *arguments)

    off = message(sharing="off")
    assert "shares no KV across adapters" in str(off)
    assert "--lora-sharing base" in off.hint
    none = message(adapters=())
    assert "serves no adapter" in str(none)
    assert "--lora NAME=PATH" in none.hint
    unknown = message("--adapter", "critic")
    assert "--adapter critic" in str(unknown)
    assert str(unknown).endswith("serves coder, planner")
    unshared = message(shares=False)
    assert str(unshared).startswith("planner found nothing of what coder had computed of prompt 1")
    assert "alora" in unshared.hint


def test_an_engine_that_is_none_is_named(
    server: tuple[ScoringServer, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = prompts_file(tmp_path, *PROMPTS)
    refused(EngineUnreachable, "divergence", unused_url(), "--prompts", file)
    with served(FakeServer().app()) as url:
        refused(PluginInactive, "divergence", url, "--prompts", file)
    monkeypatch.setattr(server[0], "rows", 1)
    error = refused(
        ModelRequestFailed, "divergence", server[1], "--prompts", file, "--tokens", str(TOKENS)
    )
    assert "log-probabilities of 4 tokens, expected 5" in str(error)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"continuation": "x"}, "prompts.jsonl:2: expected either messages or text"),
        ({"text": "x", "messages": [{}]}, "prompts.jsonl:2: expected either messages or text"),
        ({"text": "x", "continuation": ""}, "prompts.jsonl:2: the continuation is empty"),
        ({"prompt": "x"}, "prompts.jsonl:2: not a prompt: Object contains unknown field `prompt`"),
        ([], "prompts.jsonl:2: not a prompt: "),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: object, message: str) -> None:
    file = prompts_file(tmp_path, {"text": "x"}, line)
    assert message in str(refused(SettingError, "divergence", unused_url(), "--prompts", file))


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    file = prompts_file(tmp_path)
    arguments = ("divergence", unused_url(), "--prompts")
    assert str(refused(SettingError, *arguments, file)).endswith("no prompt in it")
    assert "No such file" in str(refused(SettingError, *arguments, f"{file}.gz"))


def test_prompts_of_our_own_are_long_and_always_the_same() -> None:
    prompts = built_in_prompts()
    assert prompts == built_in_prompts()
    texts = [json.dumps(prompt.messages) for prompt in prompts]
    assert len(set(texts)) == 6
    assert min(map(len, texts)) > 1500


def test_training_says_what_is_wrong_before_it_begins(home: Path) -> None:
    assert "agentrt models fetch" in refused(ModelNotFound, "train", "adapters").hint
    (home / "adapters/command").mkdir(parents=True)
    assert "is there already" in str(refused(SettingError, "train", "adapters", "--model", "."))
    many = refused(SettingError, "train", "others", "--steps", "30000", "--model", ".")
    assert "30000 steps of 8 items: expected at most 20,000 items" in str(many)
    with pytest.raises(CycloptsError, match="at least 1"):
        run("train", "others", "--rank", "0")


def _best(log_probs: list[float]) -> int:
    return log_probs.index(max(log_probs))
