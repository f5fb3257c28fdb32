"""The measuring of one server: prompts are made, sent, and their times read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from statistics import fmean, median

from agentrt.calibrate.sizes import FRESH, SHORTEST, Effort, Sizes, choose_sizes, longest_prompt
from agentrt.calibrate.target import Prompt, ServerFacts, Stream, Target
from agentrt.calibrate.work import Case, Kind, Measurement, Sample, Work, prefill_work

#: Lengths are tried until the next one, twice as long, would take longer than is allowed.
_GROWTH = 2.5
#: A prefix counts as cached if so much of it was.
_HIT = 0.8
#: What is left of a context once its last, partly filled page is not reused.
_PAGE_TOKENS = 64

Report = Callable[[str], None]


def _silent(_line: str) -> None:
    pass


@dataclass(slots=True)
class Session:
    """Measures one server.

    Args:
        seed: of prompts and of the order of measurements.
        stage, detail: are told what happens.
        clock: seconds.

    Attributes:
        programs: whose KV stays in the server until it is cleaned.
        notes: what could not be measured.
    """

    target: Target
    facts: ServerFacts
    effort: Effort
    seed: int = 1
    stage: Report = _silent
    detail: Report = _silent
    clock: Callable[[], float] = time.perf_counter
    programs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _contexts: list[list[int]] = field(default_factory=list)
    _random: Random = field(default_factory=Random)
    _prompts: int = 0

    async def measure(self) -> list[Measurement]:
        """All measurements, in the order of their kinds and sizes.

        Raises:
            CalibrationError: the server is too small.
            EngineLost, ModelRequestFailed: it went away, or refused.
        """
        self._random.seed(self.seed)
        began_s = self.clock()
        self.stage("warming up, finding lengths")
        prefill_s = await self._find_lengths()
        sizes = choose_sizes(self.facts, prefill_s, self.effort)
        number, tokens = len(sizes.contexts), sum(sizes.contexts)
        self.stage(f"prefilling {number} contexts, {tokens:,} tokens")
        await self._fill_cache(sizes)
        return await self._rounds(sizes, began_s)

    async def _find_lengths(self) -> dict[int, float]:
        longest = longest_prompt(self.facts)
        for output_tokens in (1, 8, 1):
            await self._alone(self._fresh(SHORTEST), output_tokens)
        found: dict[int, float] = {}
        length = SHORTEST
        while length <= longest:
            self.detail(f"{length:,} tokens")
            found[length] = await self._alone(self._fresh(length), 1)
            if found[length] * _GROWTH > self.effort.longest_s:
                break
            length *= 2
        return found

    async def _alone(self, token_ids: list[int], output_tokens: int) -> float:
        [stream] = await self.target.run([self._prompt(token_ids, output_tokens)])
        return stream.first_s - stream.sent_s

    async def _fill_cache(self, sizes: Sizes) -> None:
        for number, length in enumerate(sizes.contexts, start=1):
            self.detail(f"{number} of {len(sizes.contexts)}")
            self._contexts.append(self._fresh(length))
            prompt = self._prompt(self._contexts[-1], 1, final=False)
            self.programs.append(prompt.program_id)
            await self.target.run([prompt])

    async def _rounds(self, sizes: Sizes, began_s: float) -> list[Measurement]:
        """Each round measures everything once, in another order."""
        samples: dict[Case, list[Sample]] = defaultdict(list)
        least, most = self.effort.rounds
        rounds = least
        done = 0
        while done < rounds:
            round_began_s = self.clock()
            self.stage(f"round {done + 1}" + (f" of {rounds}" if done else ""))
            for case in self._random.sample(sizes.cases, len(sizes.cases)):
                self.detail(f"{case.kind} {case}")
                if (sample := await self._sample(case)) is not None:
                    samples[case].append(sample)
            done += 1
            now = self.clock()
            left_s = self.effort.budget_s - (now - began_s)
            rounds = min(max(least, done + int(left_s / (now - round_began_s or 1e-9))), most)
        missing = [str(case) for case in sizes.cases if case not in samples]
        if missing:
            self.notes.append(
                f"not measured, because the server did not find the prefix in its cache or ended "
                f"before all requests ran: {', '.join(missing)}"
            )
        return [Measurement.of(samples[case]) for case in sizes.cases if case in samples]

    async def _sample(self, case: Case) -> Sample | None:
        match case.kind:
            case Kind.PREFILL:
                return await self._prefill(case)
            case Kind.EXTEND:
                return await self._extend(case)
            case Kind.DECODE:
                return await self._decode(case)
            case Kind.MIXED:
                return await self._mixed(case)

    async def _prefill(self, case: Case) -> Sample:
        seconds = await self._alone(self._fresh(case.new), 1)
        return Sample(case, prefill_work(0, case.new, chunk=self.facts.chunk_tokens), seconds)

    async def _extend(self, case: Case) -> Sample | None:
        [context] = self._cached(case.context, 1)
        [stream] = await self.target.run([self._prompt([*context, *self._fresh(case.new)], 1)])
        # Where a server does not say what it found, it is taken to have found all of it.
        cached = case.context if stream.cached_tokens is None else stream.cached_tokens
        if cached < _HIT * case.context - _PAGE_TOKENS or not cached:
            return None
        work = prefill_work(cached, case.context + case.new, chunk=self.facts.chunk_tokens)
        return Sample(case, work, stream.first_s - stream.sent_s)

    async def _decode(self, case: Case) -> Sample | None:
        streams = await self.target.run(self._decoders(case, self.effort.output_tokens))
        begin_s = max(stream.first_s for stream in streams)
        end_s = min(stream.last_s for stream in streams)
        steps, kv_tokens = [], 0.0
        for stream in streams:
            inside = [token for token in stream.tokens if begin_s <= token[0] <= end_s]
            if len(inside) < 3:
                return None
            (first_s, first), (last_s, last) = inside[0], inside[-1]
            steps.append((last_s - first_s) / (last - first))
            kv_tokens += case.context + (first + last) / 2
        return Sample(case, Work(0, 1, kv_tokens, case.batch, 0, 0), median(steps))

    async def _mixed(self, case: Case) -> Sample | None:
        prompt = self._prompt(self._fresh(case.new), 1)
        *streams, late = await self.target.run(
            self._decoders(case, self.effort.output_tokens), [prompt]
        )
        waits = [gap for stream in streams if (gap := _gap(stream, late)) is not None]
        if len(waits) < len(streams):
            return None
        kv_tokens = fmean(number for _, number in waits) + case.context
        work = prefill_work(0, case.new, chunk=self.facts.chunk_tokens)
        mixed = Work(0, work.steps, kv_tokens * case.batch, case.batch, work.tokens, work.positions)
        return Sample(case, mixed, median(seconds for seconds, _ in waits))

    def _decoders(self, case: Case, output_tokens: int) -> list[Prompt]:
        """Requests that have their context in the cache but for a few tokens of their own."""
        return [
            self._prompt([*context, *self._fresh(FRESH)], output_tokens)
            for context in self._cached(case.context - FRESH, case.batch)
        ]

    def _cached(self, length: int, number: int) -> list[list[int]]:
        """The beginnings of some contexts; the shortest contexts that are long enough."""
        enough = [context for context in self._contexts if len(context) >= length]
        enough = [each for each in enough if len(each) == len(enough[0])]
        return [context[:length] for context in self._random.sample(enough, number)]

    def _fresh(self, length: int) -> list[int]:
        first, end = self.facts.vocabulary
        return [self._random.randrange(first, end) for _ in range(length)]

    def _prompt(self, token_ids: list[int], output_tokens: int, *, final: bool = True) -> Prompt:
        self._prompts += 1
        name = f"agentrt-calibrate-{self.seed}-{self._prompts}"
        return Prompt(token_ids, output_tokens, name, final=final)


def _gap(stream: Stream, late: Stream) -> tuple[float, int] | None:
    """The longest wait for a token while another request came to its first, and tokens by then.

    None where the stream ended before.
    """
    # The second token may have waited for the prefill of the other requests.
    gaps = [
        (now_s - before_s, number)
        for (before_s, before), (now_s, number) in pairwise(stream.tokens)
        if before >= 2 and now_s > late.sent_s and before_s <= late.first_s
    ]
    return max(gaps, default=None) if stream.last_s >= late.first_s else None
