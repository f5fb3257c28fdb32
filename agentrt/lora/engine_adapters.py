"""The adapters that an engine has loaded, from its `/v1/models`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from agentrt.errors import ModelRequestFailed


class Api(Protocol):
    """An engine's HTTP routes."""

    url: str

    def request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """The body of an answer.

        Raises:
            EngineError: there is none, or it is an error.
        """


class EngineAdapter(NamedTuple):
    """An adapter.

    Attributes:
        base: the model that it is of, as requests name it.
        path: its folder on the engine's machine.
    """

    name: str
    base: str
    path: str


class _Model(msgspec.Struct):
    id: str
    root: str = ""
    parent: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


def engine_adapters(api: Api) -> list[EngineAdapter]:
    """What an engine has loaded.

    Raises:
        EngineError: it cannot be reached, refuses, or answers in an unknown form.
    """
    content = api.request("GET", "/v1/models")
    try:
        models = msgspec.json.decode(content, type=_Models).data
    except msgspec.DecodeError as error:
        raise ModelRequestFailed(
            f"the engine at {api.url} answered something else than its models: {error}", status=200
        ) from error
    return [
        EngineAdapter(model.id, model.parent, model.root)
        for model in models
        if model.parent is not None
    ]
