"""An engine that answered, and what it said about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentrt_engine.wire.info import EngineInfo


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go.

    Attributes:
        url: where the engine listens, without `/v1`.
        model: name for requests.
        info: what our plug-in says; None for any other OpenAI-compatible engine.
    """

    url: str
    model: str
    info: EngineInfo | None

    @property
    def provider(self) -> str:
        """Value of `gen_ai.provider.name`: the engine, or the API flavour if it is unknown."""
        return "openai" if self.info is None else "sglang"

    def model_of(self, adapter: str | None) -> str:
        """Name for requests to the model under an adapter.

        SGLang knows adapters by `model:adapter`, others serve each under a name of its own.
        """
        if adapter is None:
            return self.model
        return adapter if self.info is None else f"{self.model}:{adapter}"

    def metadata(self) -> dict[str, Any]:
        """Entries for the header of a trace."""
        info = {} if self.info is None else self.info.to_builtins()
        return {"model": self.model, "engine": {"url": self.url, **info}}
