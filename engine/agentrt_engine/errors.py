"""Everything that can go wrong outside a program, as one tree.

    AgentrtError
    ├── SettingError            a value the user gave is not usable
    │   ├── UnknownPolicy
    │   ├── ProfileError        a cost profile does not exist or cannot be used
    │   └── UnsupportedPython
    ├── PolicyStuck             a policy admits nothing although nothing runs
    ├── ModelError
    │   ├── ModelNotFound
    │   ├── ModelCorrupt
    │   └── ModelFetchFailed
    └── EngineError
        ├── EngineNotInstalled  SGLang or torch is missing
        ├── EngineMismatch      another SGLang, or a torch of the other device
        ├── EngineInstallFailed
        ├── PluginInactive      SGLang runs, our plug-in does not
        ├── PortInUse
        ├── EngineStartFailed
        ├── EngineUnreachable   nothing answers at the URL
        └── EngineLost          the engine went away in mid-run

Every message says what was found, where, and what was expected; `hint` is the
command or change that mends it.
"""

from __future__ import annotations


class AgentrtError(Exception):
    """Root of the tree.

    Args:
        message: what was found, where, and what was expected.
        hint: the command or change that mends it, one line, or empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SettingError(AgentrtError):
    """A flag, environment variable or file entry has an unusable value."""


class UnknownPolicy(SettingError):
    """No policy has this name."""


class ProfileError(SettingError):
    """A cost profile does not exist or cannot be used."""


class PolicyStuck(AgentrtError):
    """A policy admits nothing although nothing runs, so nothing will ever change."""


class UnsupportedPython(SettingError):
    """The interpreter is outside the supported range."""


class ModelError(AgentrtError):
    """The model cannot be used."""


class ModelNotFound(ModelError):
    """There is no model at this path, or none was fetched yet."""


class ModelCorrupt(ModelError):
    """A file of the model is damaged or incomplete."""


class ModelFetchFailed(ModelError):
    """The model could not be downloaded, verified or converted."""


class EngineError(AgentrtError):
    """The engine cannot be installed, started or reached."""


class EngineNotInstalled(EngineError):
    """A package the engine needs is missing."""


class EngineMismatch(EngineError):
    """An installed package is of another version or for another device."""


class EngineInstallFailed(EngineError):
    """The package installer failed."""


class PluginInactive(EngineError):
    """SGLang answers, but without the agentrt plug-in."""


class PortInUse(EngineError):
    """Another process listens on the port."""


class EngineStartFailed(EngineError):
    """The engine process ended, or was not ready in time."""


class EngineUnreachable(EngineError):
    """No engine answers at the URL."""


class EngineLost(EngineError):
    """The engine stopped answering while programs were running."""
