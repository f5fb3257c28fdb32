"""SGLang's own protocol, `POST /generate`: token ids in and out, and the cached tokens."""

from __future__ import annotations

from typing import Any

import msgspec

from agentrt.replay.live.wire import Answer, RequestFailed, TurnRequest, reported


class SglangGenerate:
    """Requests to `/generate`."""

    name = "sglang generate"
    path = "/generate"

    def body(self, request: TurnRequest) -> dict[str, Any]:
        return {
            "input_ids": request.prompt,
            "sampling_params": {
                "max_new_tokens": request.output_tokens,
                "temperature": 0.0,
                "ignore_eos": True,
                "custom_params": request.tag.custom_params(),
            },
            "session_id": request.tag.program_id,
            "rid": request.request_id,
            "stream": True,
        }

    def reader(self) -> GenerateReader:
        return GenerateReader()


class _Meta(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    cached_tokens: int | None = None
    queue_time: float | None = None
    finish_reason: dict[str, Any] | None = None


class _Chunk(msgspec.Struct):
    output_ids: list[int] = []
    meta_info: _Meta | None = None
    error: Any = None


class GenerateReader:
    """Reads `data:` events of `/generate`.

    Each has all ids so far, or with `--incremental-streaming-output` the new ones. Of the first
    kind only the last event counts; the others are not even parsed, because all of them together
    grow with the square of the output.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._meta = _Meta()
        self._cumulative = False
        self._unread: str | None = None

    def feed(self, data: str) -> bool:
        if self._cumulative and '"error"' not in data:
            self._unread = data
        else:
            self._read(data)
        return self._meta.completion_tokens > 0

    def answer(self) -> Answer:
        if self._unread is not None:
            self._read(self._unread)
        finish = self._meta.finish_reason
        if finish is None:
            raise RequestFailed("the answer broke off")
        if finish.get("type") == "abort":
            raise RequestFailed(
                f"aborted by the engine: {finish.get('message', 'no reason given')}"
            )
        return Answer(
            prompt_tokens=self._meta.prompt_tokens,
            cached_tokens=self._meta.cached_tokens,
            output_tokens=self._meta.completion_tokens,
            output_ids=self._ids,
            queue_s=self._meta.queue_time,
        )

    def _read(self, data: str) -> None:
        chunk = msgspec.json.decode(data, type=_Chunk)
        if chunk.error is not None:
            raise reported(chunk.error)
        if chunk.meta_info is None:
            raise RequestFailed("an event without meta_info")
        self._meta = chunk.meta_info
        before = len(self._ids)
        if len(chunk.output_ids) == self._meta.completion_tokens:
            self._cumulative = before > 0
            self._ids = chunk.output_ids
        else:
            self._ids += chunk.output_ids
