"""Where the plug-in hooks into SGLang's serving of LoRA adapters."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import torch
from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.sglang.lora.adapter import Adapter
from agentrt_engine.sglang.lora.low_rank_values import LowRankValues
from agentrt_engine.sglang.lora.use import parts, placed

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_MANAGER = "sglang.srt.lora.lora_manager.LoRAManager"
_QKV = "sglang.srt.lora.layers.QKVParallelLinearWithLoRA"

#: Attribute of a projection that holds the number of its layer.
_LAYER = "agentrt_layer"

_logger = logging.getLogger(__name__)


class LoraHooks:
    """The hooks of one scheduler process.

    Attributes:
        values: the low-rank part of values; None in modes without, and before the engine has its
            memory.
    """

    def __init__(self, sharing: LoraSharing) -> None:
        self._sharing = sharing
        self._adapters: dict[str, tuple[int, Adapter]] = {}
        self._numbers = count()
        self.values: LowRankValues | None = None

    def register(self) -> None:
        """Hook the scheduler and the model of this process, should it become one."""
        for target, hook, kind in (
            (f"{_MANAGER}.validate_new_adapter", self._validate, HookType.BEFORE),
            (f"{_MANAGER}.init_state", self._split_batches, HookType.AFTER),
            (f"{_MANAGER}.unload_lora_adapter", self._dropped, HookType.AFTER),
            (f"{_SCHEDULER}.can_schedule_lora_req", _leave_room, HookType.AROUND),
            (f"{_QKV}.apply_lora", self._apply, HookType.AROUND),
        ):
            HookRegistry.register(target, hook, kind)

    def provide_values(self, model_runner: Any) -> None:
        """Make the pool for low-rank values, beside a KV pool that was just made."""
        if not self._sharing.splits_values:
            return
        manager = model_runner.lora_manager
        pool = model_runner.token_to_kv_pool
        self.values = LowRankValues(
            layers=manager.base_hf_config.num_hidden_layers,
            slots=pool.get_value_buffer(0).shape[0],
            rank=manager.max_lora_rank,
            dtype=pool.get_value_buffer(0).dtype,
            device=str(manager.device),
            own=self._sharing is LoraSharing.BASE,
        )
        _logger.info("The pool of low-rank values takes %.1f MB.", self.values.bytes / 1e6)

    # Adapters come and go.

    def _validate(self, _manager: Any, lora_config: Any, _lora_ref: Any) -> None:
        """What this raises is the answer to whoever wants the adapter loaded."""
        Adapter.of(lora_config.hf_config).require_suits(self._sharing)

    def _dropped(self, _result: Any, _manager: Any, lora_ref: Any) -> None:
        self._adapters.pop(lora_ref.lora_id, None)
        if self.values is not None:
            self.values.forget(lora_ref.lora_id)

    def _adapter(self, adapter_id: str, configs: Mapping[str, Any]) -> tuple[int, Adapter]:
        if adapter_id not in self._adapters:
            adapter = Adapter.of(configs[adapter_id].hf_config)
            self._adapters[adapter_id] = next(self._numbers), adapter
        return self._adapters[adapter_id]

    # Requests.

    def place(self, req: Any, scheduler: Any, recv_req: Any, asked: bool) -> None:
        """Say which part of a request's prompt its adapter acts on, and where its KV lies.

        Args:
            asked: its client asked for KV that adapters share.
        """
        manager = scheduler.tp_worker.model_runner.lora_manager
        number, adapter = self._adapter(req.lora_id, manager.configs)
        req.lora_id, req.extra_key = placed(
            adapter,
            req.lora_id,
            number,
            req.origin_input_ids,
            recv_req.extra_key,
            self._sharing if asked else LoraSharing.OFF,
        )

    # The forward pass.

    def _split_batches(self, _result: None, manager: Any, *_args: Any, **_kwargs: Any) -> None:
        """From now on the manager's backend sees a sequence of which an adapter acts on the rear
        only as two."""
        for layer, modules in enumerate(manager.lora_modules):
            for module in modules.values():
                setattr(module, _LAYER, layer)
        prepare = manager.lora_backend.prepare_lora_batch

        def prepare_parts(
            forward_batch: Any,
            weight_indices: list[int],
            lora_ranks: list[int],
            scalings: list[float],
            *args: Any,
            **kwargs: Any,
        ) -> None:
            uses = forward_batch.lora_ids
            firsts, counts = _positions(forward_batch)
            if self.values is not None:
                slots = forward_batch.out_cache_loc
                self.values.begin(uses, counts, slots, lambda use: _weights(manager, use))
            found = list(parts(uses, firsts, counts))
            if not all(part.acts or uses[part.sequence] is None for part in found):
                idle = lora_ranks.index(0)  # `_leave_room` sees to it that there is one
                weight_indices = [
                    weight_indices[part.sequence] if part.acts else idle for part in found
                ]
                if len(found) > len(uses):
                    forward_batch = _in_parts(forward_batch, [part.tokens for part in found])
            prepare(forward_batch, weight_indices, lora_ranks, scalings, *args, **kwargs)

        manager.lora_backend.prepare_lora_batch = prepare_parts

    def _apply(
        self, original: Callable[..., Any], module: Any, base_output: Any, inputs: Any
    ) -> Any:
        """Keep B out of the values of requests that share."""
        if self.values is None or self.values.batch is None:
            return original(module, base_output, inputs)
        rows = self.values.batch.rows
        first = module.base_layer.q_proj_shard_size + module.base_layer.kv_proj_shard_size
        values = base_output[rows, first:]
        output = original(module, base_output, inputs)
        output[rows, first:] = values
        self.values.write(getattr(module, _LAYER), inputs, module)
        return output


def _positions(forward_batch: Any) -> tuple[list[int], list[int]]:
    """Of each sequence: position of its first token in the batch, and how many it brings."""
    if forward_batch.forward_mode.is_extend():
        return forward_batch.extend_prefix_lens_cpu, forward_batch.extend_seq_lens_cpu
    lengths = forward_batch.seq_lens_cpu
    if lengths is None:  # a rehearsal, for a CUDA graph
        lengths = torch.ones(len(forward_batch.lora_ids), dtype=torch.int64)
    return (lengths - 1).tolist(), [1] * len(lengths)


def _weights(manager: Any, adapter_id: str) -> tuple[int, int, float]:
    adapter = manager.loras[adapter_id]
    return manager.memory_pool.get_buffer_id(adapter_id), adapter.config.r, adapter.scaling


def _in_parts(forward_batch: Any, tokens: list[int]) -> Any:
    """The same batch, as if each of its parts were a sequence."""
    split = copy.copy(forward_batch)
    split.batch_size = len(tokens)
    split.extend_seq_lens_cpu = tokens
    split.extend_seq_lens = torch.tensor(
        tokens, dtype=torch.int32, device=forward_batch.extend_seq_lens.device
    )
    return split


def _leave_room(
    original: Callable[..., bool], scheduler: Any, req: Any, running_loras: set[str | None]
) -> bool:
    """One buffer for weights always stays with the base model."""
    return original(scheduler, req, running_loras | {None})
