"""LoRA adapters in SGLang's HTTP process: one that was dropped is gone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any


async def drop_for_good(
    original: Callable[..., Coroutine[Any, Any, Any]], manager: Any, obj: Any, *args: Any
) -> Any:
    """Unload an adapter, and do not load it again when a request names it, as SGLang would."""
    result = await original(manager, obj, *args)
    if result.success:
        manager.lora_ref_cache.pop(obj.lora_name, None)
    return result
