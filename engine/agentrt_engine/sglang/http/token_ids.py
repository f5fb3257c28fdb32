"""Refuses prompts of token ids that the model does not have.

SGLang 0.5.23 takes them, and the look-up of the first one ends the engine for everybody.
"""

from __future__ import annotations

from typing import Any


def require_token_ids(
    manager: Any,
    obj: Any,
    _input_text: Any,
    input_ids: list[int] | None,
    _input_embeds: Any = None,
    mm_inputs: Any = None,
    *_args: Any,
    **_kwargs: Any,
) -> None:
    """Check the ids of one request that gave ids instead of text.

    Raises:
        ValueError: one is out of range; SGLang answers 400.
    """
    if input_ids is None or obj.input_ids is None or mm_inputs is not None:
        return
    size = manager.model_config.vocab_size
    for wrong in (min(input_ids, default=0), max(input_ids, default=0)):
        if not 0 <= wrong < size:
            raise ValueError(f"token id {wrong} in the prompt: expected 0 to {size - 1}")
