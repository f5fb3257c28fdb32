"""A server in virtual time that follows the cost model exactly, or with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from random import Random

from agentrt.calibrate.fit import Fit
from agentrt.calibrate.target import Prompt, ServerFacts, Stream

#: As of a small model on a CPU.
COSTS = Fit(
    request_s=9e-3, fixed_s=27e-3, decode_s=4e-6, sequence_s=1.7e-3, prefill_s=6e-4, position_s=8e-7
)

_COEFFICIENTS = astuple(COSTS)[:-1]


def scaled(*scales: float) -> Fit:
    """`COSTS` times a number for all of them, or one for each."""
    if len(scales) == 1:
        scales *= len(_COEFFICIENTS)
    return Fit(*(scale * value for scale, value in zip(scales, _COEFFICIENTS, strict=True)))


def facts(
    *, kv_tokens: int | None = 32_768, context_tokens: int | None = 8192, max_running: int = 16
) -> ServerFacts:
    """Of a server like `agentrt serve`."""
    return ServerFacts(
        url="http://virtual",
        model="small",
        title="small on cpu",
        engine="sglang 0.5.23",
        kv_tokens=kv_tokens,
        kv_bytes_per_token=23_040.0,
        context_tokens=context_tokens,
        max_running=max_running,
        chunk_tokens=4096,
        vocabulary=(1000, 30_000),
    )


@dataclass(slots=True)
class VirtualTarget:
    """A `Target` whose clock is its own.

    Attributes:
        caches: whether prefixes are found again; whole ones only.
        noise: of each time, relative; stalls: share of the times that are tenfold.
        seen: all prompts, in order.
    """

    costs: Fit = COSTS
    caches: bool = True
    says_cached: bool = True
    noise: float = 0.0
    stalls: float = 0.0
    now: float = 0.0
    seen: list[Prompt] = field(default_factory=list)
    most_kv_tokens: int = 0
    _cache: list[list[int]] = field(default_factory=list)
    _random: Random = field(default_factory=lambda: Random(1))

    def clock(self) -> float:
        return self.now

    async def run(self, first: Sequence[Prompt], then: Sequence[Prompt] = ()) -> list[Stream]:
        """One prefill step per prompt, then all decode; `then` comes after two tokens."""
        self.seen += [*first, *then]
        streams = [self._prefilled(prompt) for prompt in first]
        pending = list(then)
        left = {index: prompt.output_tokens - 1 for index, prompt in enumerate(first)}
        steps = 0
        while any(left.values()):
            running = [index for index, tokens in left.items() if tokens]
            kv_tokens = sum(
                len(first[index].token_ids) + first[index].output_tokens - left[index]
                for index in running
            )
            self.most_kv_tokens = max(self.most_kv_tokens, kv_tokens)
            extra = 0.0
            if steps == 1 and pending:
                sent = self.now
                late = pending.pop()
                count = len(late.token_ids)
                extra = self.costs.prefill_s * count
                extra += self.costs.position_s * count * (count - 1) / 2
                if not self.costs.mixed_steps:
                    extra += self.costs.fixed_s
            self._passes(
                self.costs.fixed_s
                + self.costs.decode_s * kv_tokens
                + self.costs.sequence_s * len(running)
                + extra
            )
            if extra:
                streams.append(Stream(sent, [(self.now, 1)], 0))
            for index in running:
                left[index] -= 1
                tokens = first[index].output_tokens - left[index]
                streams[index].tokens.append((self.now, tokens))
            steps += 1
        return streams

    def _prefilled(self, prompt: Prompt) -> Stream:
        ids = prompt.token_ids
        cached = max((_common(ids, known) for known in self._cache), default=0)
        if not prompt.final and self.caches:
            self._cache.append(ids)
        count = len(ids) - cached
        sent = self.now
        positions = count * (cached + len(ids) - 1) / 2
        self._passes(
            self.costs.request_s
            + self.costs.fixed_s
            + self.costs.prefill_s * count
            + self.costs.position_s * positions
        )
        return Stream(sent, [(self.now, 1)], cached if self.says_cached else None)

    def _passes(self, seconds: float) -> None:
        slower = 10.0 if self._random.random() < self.stalls else 1.0
        self.now += seconds * slower * max(0.5, self._random.gauss(1, self.noise))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
