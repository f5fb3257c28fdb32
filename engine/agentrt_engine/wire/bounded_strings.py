"""How a client asks for bounded strings that may hold quotes, backslashes and newlines.

xgrammar turns `maxLength` into "so many characters that need no escape", so under a bounded
schema a model could never write `echo "a"` or two lines. A schema whose root carries this
comment gets escapes on top of the characters that `maxLength` counts; `$comment` is a standard
keyword that every other engine passes over.
"""

from __future__ import annotations

from typing import Any, Final

ESCAPES_COMMENT: Final = "agentrt: bounded strings may hold escapes"

#: What a bounded string may hold on top of its `maxLength`: this many escapes, each followed by
#: this many characters.
MAX_ESCAPES: Final = 24
MAX_AFTER_ESCAPE: Final = 60


def with_escapes(response_format: dict[str, Any]) -> dict[str, Any]:
    """A `response_format` of type `json_schema` that asks for escapes."""
    inner = response_format["json_schema"]
    schema = {**inner["schema"], "$comment": ESCAPES_COMMENT}
    return {**response_format, "json_schema": {**inner, "schema": schema}}
