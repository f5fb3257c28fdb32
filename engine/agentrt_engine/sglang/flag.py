"""The flag that turns the plug-in on, handed to the engine's processes in one variable.

SGLang loads plug-ins into every engine of the environment. Without this flag ours
registers names and touches nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

FLAG_VARIABLE = "AGENTRT_ENGINE"

#: Set where the engine has an owner: it dies when its standard input ends.
OWNED_VARIABLE = "AGENTRT_OWNED"

#: The key that requests must bear.
API_KEY_VARIABLE = "AGENTRT_ENGINE_API_KEY"

#: Exit code of an engine process that found the plug-in inactive although the flag is set.
PLUGIN_INACTIVE_EXIT = 78


class EngineFlag(msgspec.Struct, frozen=True):
    """What the plug-in is told by the process that starts the engine.

    Attributes:
        policy: registered name.
        instance: random name of this start, so that its owner recognises its own engine
            behind a port.
    """

    policy: str
    instance: str

    def environment(self) -> dict[str, str]:
        """The variable to add to the engine's environment."""
        return {FLAG_VARIABLE: msgspec.json.encode(self).decode()}


def read_flag(environment: Mapping[str, str]) -> EngineFlag | None:
    """The flag of this process, None where the plug-in stays passive.

    Raises:
        ValueError: the variable is set to something else.
    """
    text = environment.get(FLAG_VARIABLE)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=EngineFlag)
    except msgspec.DecodeError as error:
        raise ValueError(f"{FLAG_VARIABLE}={text!r} is not an engine flag: {error}") from error
