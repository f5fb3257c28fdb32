"""Makes the radix cache of a scheduler process, and with it the scheduler's half of the plug-in."""

from __future__ import annotations

from typing import Any

from sglang.srt.mem_cache.registry import create_unified_radix_cache
from sglang.srt.runtime_context import get_schedule

from agentrt_engine.errors import SettingError
from agentrt_engine.policy import Policy, make_live_policy
from agentrt_engine.sglang.flag import CACHE_BACKEND, EngineFlag
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.sglang.scheduler.hooks import SchedulerHooks
from agentrt_engine.sglang.scheduler.prior import prior_costs
from agentrt_engine.sglang.scheduler.radix_cache import ProgramRadixCache
from agentrt_engine.sglang.scheduler.state import Limits
from agentrt_engine.step_costs import StepCosts


def make_cache(ctx: Any, flag: EngineFlag | None, hooks: SchedulerHooks) -> ProgramRadixCache:
    """The radix cache that SGLang asks for by `--radix-cache-backend agentrt`.

    Raises:
        SettingError: the plug-in is not active, or the policy cannot work with this engine.
    """
    if flag is None:
        raise SettingError(
            f"--radix-cache-backend {CACHE_BACKEND}: the agentrt plug-in is not active",
            hint="give the option on the command line of sglang, or use agentrt serve",
        )
    policy = make_live_policy(flag.policy)
    _require_support(ctx, policy)
    allocator = ctx.params.token_to_kv_pool_allocator
    cache: ProgramRadixCache = create_unified_radix_cache(ctx, cache_class=ProgramRadixCache)
    costs = StepCosts(prior_costs(flag.profile, ctx.server_args.device))
    limits = Limits(lease_share=flag.lease_share, keys=flag.keys, idle_s=flag.idle_s)
    programs = ProgramScheduler(
        policy, cache, capacity_tokens=allocator.size, costs=costs, limits=limits
    )
    cache.programs = hooks.programs = programs
    hooks.alone = ctx.server_args.tp_size == 1
    return cache


def _require_support(ctx: Any, policy: Policy) -> None:
    """Policies that hold KV or gate turns need the plain tree of one scheduler."""
    if policy.order_only:
        return
    args = ctx.server_args
    unsupported = {
        "--disable-radix-cache": ctx.disable_radix_cache,
        "a model with sliding-window layers": ctx.is_hybrid_swa,
        "a model with state-space layers": ctx.is_hybrid_ssm,
        "--enable-hierarchical-cache": ctx.enable_hierarchical_cache,
        "--dp-size above 1": args.dp_size > 1,
        "--pp-size above 1": args.pp_size > 1,
        "--disaggregation-mode": args.disaggregation_mode != "null",
        "--speculative-algorithm": args.speculative_algorithm is not None,
    }
    if policy.evicts_fronts:
        # A hole is computed in a chunk of its own, which must end where the hole does.
        unsupported |= {
            "--chunked-prefill-size -1": (get_schedule().chunked_prefill_size or 0) <= 0,
            "--enable-deterministic-inference": args.enable_deterministic_inference,
            "--dcp-size above 1": args.dcp_size > 1,
        }
    for what, present in unsupported.items():
        if present:
            raise SettingError(
                f"policy {policy.name} does not work with {what}",
                hint="use policy lru or program-fcfs, which only order the queue",
            )
