"""The measurement: every reply twice, from KV of the adapter's own and from another one's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentrt.errors import SettingError
from agentrt.lora.divergence import Comparison, PairDivergence, compare
from agentrt.lora.prompts import Prompt
from agentrt.lora.scoring_engine import Namespace, Scored, ScoringEngine
from agentrt_engine.lora_sharing import LoraSharing


@dataclass(frozen=True, slots=True)
class _Case:
    """One adapter's reply to a prompt, unshared."""

    reply: list[int]
    unshared: Scored


def require_sharing(engine: ScoringEngine) -> LoraSharing:
    """The engine's mode.

    Raises:
        SettingError: it shares nothing.
    """
    sharing = engine.sharing()
    if sharing is LoraSharing.OFF:
        raise SettingError(
            f"the engine at {engine.url} shares no KV across adapters",
            hint="start it with agentrt serve --lora NAME=PATH --lora-sharing base",
        )
    return sharing


def chosen_adapters(engine: ScoringEngine, names: Sequence[str]) -> list[str]:
    """The adapters that are meant, each once; all of the engine where none is named.

    Raises:
        SettingError: the engine has none, or none of such a name.
    """
    served = engine.adapters()
    if not served:
        raise SettingError(
            f"the engine at {engine.url} serves no adapter",
            hint="start it with agentrt serve --lora NAME=PATH",
        )
    for name in names:
        if name not in served:
            raise SettingError(
                f"--adapter {name}: the engine at {engine.url} serves {', '.join(served)}"
            )
    return list(dict.fromkeys(names)) or served


def measure(
    engine: ScoringEngine,
    adapters: Sequence[str],
    prompts: Sequence[Prompt],
    tokens: int,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[PairDivergence]:
    """Compare all ordered pairs of adapters, each with itself included.

    The replies of an adapter are computed unshared. Then another leaves the KV of the context, and
    the same reply is scored from there. Every prompt is used in namespaces of its own.

    Args:
        tokens: of a reply, at most.
        on_done: hears how many comparisons are done.

    Raises:
        SettingError: KV was not reused.
        EngineError: the engine cannot be reached, or refuses.
    """
    found: dict[tuple[str, str], list[Comparison]] = {
        (producer, consumer): [] for producer in adapters for consumer in adapters
    }
    done = 0
    for number, prompt in enumerate(prompts):
        context = engine.context(prompt)
        given = engine.tokens(prompt.continuation)[:tokens] if prompt.continuation else None
        cases = {name: _unshared(engine, name, context, given, tokens) for name in adapters}
        for producer in adapters:
            left = Namespace.new(shared=True)
            engine.reply(context, producer, left, 1)
            for consumer in adapters:
                case = cases[consumer]
                shared = engine.score(context, case.reply, consumer, left)
                if not shared.reused_tokens:
                    raise _nothing_reused(producer, consumer, number)
                found[producer, consumer].append(
                    compare(
                        number,
                        len(context),
                        shared.reused_tokens,
                        case.unshared.expected,
                        shared.expected,
                    )
                )
                done += 1
                on_done(done)
    return [PairDivergence(*pair, tuple(rows)) for pair, rows in found.items()]


def _unshared(
    engine: ScoringEngine, adapter: str, context: list[int], given: list[int] | None, tokens: int
) -> _Case:
    own = Namespace.new(shared=False)
    # Also where the reply is given: then this leaves the KV of the context, as is done to share.
    greedy = engine.reply(context, adapter, own, tokens if given is None else 1)
    reply = greedy if given is None else given
    return _Case(reply, engine.score(context, reply, adapter, own))


def _nothing_reused(producer: str, consumer: str, number: int) -> SettingError:
    return SettingError(
        f"{consumer} found nothing of what {producer} had computed of prompt {number + 1}, "
        "although both asked to share",
        hint="alora shares among activated adapters only, and each prompt must hold their "
        "invocation tokens; or the KV memory is too small for the prompt",
    )
