"""The turns that wait for admission, in the order that the policy gives them."""

from __future__ import annotations

from bisect import bisect_left, insort

from agentrt_engine.policy.protocol import Policy, Rank
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.memory import KvMemory


class WaitingQueue:
    """A list that stays sorted while ranks are fixed, and is sorted again while they are not."""

    def __init__(self, policy: Policy, memory: KvMemory) -> None:
        self._policy = policy
        self._memory = memory
        self._entries: list[tuple[Rank, int, Job]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, at: int) -> Job:
        return self._entries[at][2]

    def __delitem__(self, at: int) -> None:
        del self._entries[at]

    def add(self, now: float, job: Job) -> None:
        """The job's turn waits."""
        self._serial += 1
        rank: Rank = ()
        if self._policy.ranks_are_fixed:
            rank = self._policy.rank(now, job.queued)
        job.place = (rank, self._serial)
        insort(self._entries, (rank, self._serial, job))

    def position(self, job: Job) -> int:
        """How many turns are before the job's."""
        return bisect_left(self._entries, job.place)

    def rank_again(self, now: float) -> None:
        """Sort again, if ranks change."""
        policy = self._policy
        if policy.ranks_are_fixed:
            return
        for at, (_rank, serial, job) in enumerate(self._entries):
            if policy.needs_hits:
                hits = self._memory.hits(job.holding, job.path, job.reusable)
                job.queued.hit_tokens = hits.tokens
            job.place = (policy.rank(now, job.queued), serial)
            self._entries[at] = (*job.place, job)
        self._entries.sort(key=lambda entry: entry[:2])
