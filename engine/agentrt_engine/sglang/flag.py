"""The flag that turns the plug-in on, handed to the engine's processes in one variable.

SGLang loads plug-ins into every engine of the environment. Without this flag ours registers
names and touches nothing else. `agentrt serve` sets the variable; whoever starts SGLang by
itself says `--radix-cache-backend agentrt`, and the plug-in sets it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.policy import DEFAULT_POLICY

FLAG_VARIABLE = "AGENTRT_ENGINE"

#: Name of the radix cache, for SGLang's option `--radix-cache-backend`.
CACHE_BACKEND = "agentrt"
_CACHE_OPTION = "--radix-cache-backend"

#: The policy of an SGLang that was started by itself.
POLICY_VARIABLE = "AGENTRT_POLICY"

#: What its LoRA adapters share.
LORA_SHARING_VARIABLE = "AGENTRT_LORA_SHARING"

#: Set where the engine has an owner: it dies when its standard input ends.
OWNED_VARIABLE = "AGENTRT_OWNED"

#: The keys that requests must bear, one per line; SGLang itself runs with the first.
API_KEY_VARIABLE = "AGENTRT_ENGINE_API_KEY"

#: Usual share of the KV memory that leases may hold.
LEASE_SHARE = 0.95

#: Usual time after which a program that pauses has ended, seconds.
IDLE_S = 1800.0

#: Exit code of an engine process that found the plug-in inactive although the flag is set.
PLUGIN_INACTIVE_EXIT = 78


class EngineFlag(msgspec.Struct, frozen=True):
    """What the plug-in is told by the process that starts the engine.

    Attributes:
        policy: name of a live policy, with parameters.
        instance: random name of this start, so that its owner recognises its own engine
            behind a port.
        keys: number of API keys, which share the leases evenly.
        profile: name or file of a cost profile to begin with.
        learned: file that keeps what the policy learns; None: it is forgotten at the end.
        lease_share: share of the KV memory that leases may hold.
        idle_s: a program that pauses for longer has ended, seconds.
        lora_sharing: what KV requests with different adapters may share.
    """

    policy: str
    instance: str
    keys: int = 1
    profile: str | None = None
    learned: str | None = None
    lease_share: float = LEASE_SHARE
    idle_s: float = IDLE_S
    lora_sharing: LoraSharing = LoraSharing.OFF

    def environment(self) -> dict[str, str]:
        """The variable to add to the engine's environment."""
        return {FLAG_VARIABLE: msgspec.json.encode(self).decode()}


def read_flag(environment: Mapping[str, str], arguments: Sequence[str] = ()) -> EngineFlag | None:
    """The flag of this process, None where the plug-in stays passive.

    Args:
        arguments: command line of SGLang, where it was started by itself.

    Raises:
        ValueError: the variable is set to something else.
    """
    text = environment.get(FLAG_VARIABLE)
    if not text:
        if not _asks_for_cache(arguments):
            return None
        policy = environment.get(POLICY_VARIABLE) or DEFAULT_POLICY
        sharing = environment.get(LORA_SHARING_VARIABLE) or LoraSharing.OFF
        return EngineFlag(
            policy=policy, instance=secrets.token_hex(8), lora_sharing=_sharing(sharing)
        )
    try:
        return msgspec.json.decode(text, type=EngineFlag)
    except msgspec.DecodeError as error:
        raise ValueError(f"{FLAG_VARIABLE}={text!r} is not an engine flag: {error}") from error


def _sharing(name: str) -> LoraSharing:
    try:
        return LoraSharing(name)
    except ValueError:
        modes = ", ".join(LoraSharing)
        raise ValueError(f"{LORA_SHARING_VARIABLE}={name!r}: expected one of {modes}") from None


def _asks_for_cache(arguments: Sequence[str]) -> bool:
    return f"{_CACHE_OPTION}={CACHE_BACKEND}" in arguments or (
        (_CACHE_OPTION, CACHE_BACKEND) in pairwise(arguments)
    )
