"""How large the measurements can be on a server, in tokens and requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentrt.calibrate.target import ServerFacts
from agentrt.calibrate.work import Case, Kind
from agentrt.errors import CalibrationError

#: What is assumed of a server that does not say.
_ASSUMED_KV_TOKENS = 16_384
_ASSUMED_CONTEXT_TOKENS = 4096
_ASSUMED_RUNNING = 16
#: More requests at once say nothing new.
_MOST_RUNNING = 64

SHORTEST = 16
#: Of memory, for one context per request and for the few long ones.
_SHARE = 0.45
_LONG_SHARE = 0.25
#: Of the time, for each of the two.
_FILL_TIME = 0.12
#: Fresh tokens behind a cached prefix, or beside turns that decode.
_MOST_NEW = 256
#: Shorter prompts cannot tell the coefficients of prefill apart.
_LEAST_CONTEXT = 128
#: Tokens behind a cached prefix that every request needs of its own.
FRESH = 8


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time measuring may take.

    Attributes:
        budget_s: of all.
        longest_s: of one prefill.
        output_tokens: decoded in each measurement.
        rounds: fewest and most repetitions.
        lengths: context lengths of the decode measurements, as parts of the longest.
        batches: at most so many numbers of requests.
    """

    budget_s: float
    longest_s: float
    output_tokens: int
    rounds: tuple[int, int]
    lengths: tuple[int, ...]
    batches: int


USUAL = Effort(110.0, 4.0, 24, (2, 5), (1, 4, 16), 5)
QUICK = Effort(26.0, 0.8, 12, (1, 3), (1, 8), 3)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured.

    Attributes:
        contexts: lengths of the prompts that are put into the cache first: one for each request
            that can run, and a few longer ones.
    """

    contexts: tuple[int, ...]
    cases: tuple[Case, ...]


def longest_prompt(facts: ServerFacts) -> int:
    """The longest prompt to try, tokens.

    Raises:
        CalibrationError: the server takes too short ones.
    """
    kv_tokens = facts.kv_tokens or _ASSUMED_KV_TOKENS
    context = facts.context_tokens or _ASSUMED_CONTEXT_TOKENS
    longest = min(kv_tokens // 3, context - 2 * USUAL.output_tokens)
    if longest < _LEAST_CONTEXT:
        raise CalibrationError(
            f"{facts.url} has {kv_tokens:,} KV tokens and takes prompts of {context:,} tokens: "
            f"expected room for {3 * _LEAST_CONTEXT} and {_LEAST_CONTEXT + 48}",
            hint="start it with more KV memory: agentrt serve --kv-tokens 8192",
        )
    return longest


def choose_sizes(facts: ServerFacts, prefill_s: Mapping[int, float], effort: Effort) -> Sizes:
    """The cases that fit memory and effort.

    Args:
        prefill_s: seconds that fresh prompts of some lengths took, growing.
    """
    batch = min(facts.max_running or _ASSUMED_RUNNING, _MOST_RUNNING)
    while batch > 1 and _longest(facts, prefill_s, effort, batch, _SHARE) < 4 * SHORTEST:
        batch //= 2
    context = _longest(facts, prefill_s, effort, batch, _SHARE)
    # Large batches have short contexts; a few long ones show what their tokens cost.
    few = max(1, batch // 8)
    long = _longest(facts, prefill_s, effort, few, _LONG_SHARE)
    lengths = sorted(prefill_s)
    most_new = min(_MOST_NEW, longest_prompt(facts) // 2)
    short = [length for length in lengths if length <= most_new] or lengths[:1]
    cases = [Case(Kind.PREFILL, 0, 0, length) for length in lengths]
    parts = sorted({max(SHORTEST, context // part) for part in effort.lengths})
    for number in _batches(batch, effort.batches):
        cases += [Case(Kind.DECODE, number, part, 0) for part in parts]
    if long > context:
        cases.append(Case(Kind.DECODE, few, long, 0))
    for part in {max(long, context), max(SHORTEST, context // 2)}:
        cases += [Case(Kind.EXTEND, 0, part, new) for new in {short[0], short[-1]}]
    chunk = facts.chunk_tokens or short[-1]
    some = max(1, batch // 4)
    for new in sorted({min(short[-1], chunk), min(short[len(short) // 2], chunk)}):
        cases.append(Case(Kind.MIXED, some, parts[len(parts) // 2], new))
    contexts = (*[context] * batch, *([long] * few if long > context else []))
    return Sizes(contexts, tuple(sorted(set(cases), key=_in_order)))


def _longest(
    facts: ServerFacts,
    prefill_s: Mapping[int, float],
    effort: Effort,
    number: int,
    share: float,
) -> int:
    """The longest context of which so many fit a share of memory, and time."""
    room = share * (facts.kv_tokens or _ASSUMED_KV_TOKENS) / number - effort.output_tokens - FRESH
    room = min(room, longest_prompt(facts) // 2)
    fitting = (
        length
        for length, seconds in prefill_s.items()
        if length <= room and seconds * number <= effort.budget_s * _FILL_TIME
    )
    return max(fitting, default=min(prefill_s))


def _batches(most: int, number: int) -> Sequence[int]:
    """So many numbers of requests, from 1 to `most`, in even ratios."""
    if most == 1:
        return [1]
    return sorted({round(most ** (step / (number - 1))) for step in range(number)})


def _in_order(case: Case) -> tuple[int, int, int, int]:
    return list(Kind).index(case.kind), case.batch, case.context, case.new
