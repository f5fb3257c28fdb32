"""Identity of a program on the wire: which request belongs to which run of an agent.

The names are those that routers and engines of the field already read (SGLang's gateway,
NVIDIA Dynamo); ours come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

PROGRAM_ID = "X-Agentrt-Program-ID"
PARENT_ID = "X-Agentrt-Parent-ID"
FINAL = "X-Agentrt-Final"

DYNAMO_SESSION_ID = "X-Dynamo-Session-ID"
DYNAMO_PARENT_ID = "X-Dynamo-Parent-Session-ID"
DYNAMO_FINAL = "X-Dynamo-Session-Final"
ROUTING_KEY = "x-smg-routing-key"
REQUEST_ID = "x-request-id"

#: Key under which `ProgramTag` travels in SGLang's free-form `custom_params`.
CUSTOM_PARAMS_KEY = "agentrt"


class ProgramTag(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the scheduler is told about the program behind a request.

    Attributes:
        program_id: one run of an agent, from its first turn to its last.
        parent_id: the program that started this one.
        final: this is the program's last turn.
    """

    program_id: str
    parent_id: str | None = None
    final: bool = False

    def headers(self, request_id: str) -> dict[str, str]:
        """HTTP headers that carry the tag through routers to any engine."""
        headers = {
            REQUEST_ID: request_id,
            PROGRAM_ID: self.program_id,
            DYNAMO_SESSION_ID: self.program_id,
            ROUTING_KEY: self.program_id,
        }
        if self.parent_id is not None:
            headers |= {PARENT_ID: self.parent_id, DYNAMO_PARENT_ID: self.parent_id}
        if self.final:
            headers |= {FINAL: "true", DYNAMO_FINAL: "true"}
        return headers

    def custom_params(self) -> dict[str, Any]:
        """Value of the `custom_params` field of a request to SGLang."""
        return {CUSTOM_PARAMS_KEY: msgspec.to_builtins(self)}


def tag_from_custom_params(custom_params: Mapping[str, Any] | None) -> ProgramTag | None:
    """The tag a request carries, or None when it carries none that is well formed."""
    if not custom_params or CUSTOM_PARAMS_KEY not in custom_params:
        return None
    try:
        return msgspec.convert(custom_params[CUSTOM_PARAMS_KEY], ProgramTag)
    except msgspec.ValidationError:
        return None
