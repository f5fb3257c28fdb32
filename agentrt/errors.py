"""Every error that reaches a user, as one tree: the engine's and the SDK's own.

AgentrtError
├── …                       the tree of `agentrt_engine.errors`, re-exported here
├── SettingError
│   ├── AgentFileError      the file given to `agentrt run` holds no usable agent
│   ├── DefinitionError     a function cannot be an agent or a tool as it is written
│   ├── ProgramInputError   the input does not fit the agent's parameters
│   ├── JournalError        the journal of a run is missing, in use, or cannot be written
│   │   ├── JournalDamaged  it was changed, or events are missing
│   │   └── JournalMismatch a program does not do again what its journal says it did
│   ├── TraceError          a trace file is damaged, of no known format, or has an unusable value
│   └── ReplayError         a replay cannot be made with these settings
├── EngineError
│   ├── ModelRequestFailed  the engine refused a request, or answered in an unknown form
│   └── CalibrationError    the server is too small to be measured, or lacks what that takes
├── ReportUnavailable       the report needs a package that is not installed
├── BudgetExceeded          a program may not use more
├── ToolFailed              a tool that the agent called did not finish
├── ProgramCancelled        a program that was awaited had been cancelled
└── NoAnswer                the turns of a loop are spent and the model gave no answer
"""

from __future__ import annotations

from agentrt_engine.errors import (
    AgentrtError,
    EngineError,
    EngineInstallFailed,
    EngineLost,
    EngineMismatch,
    EngineNotInstalled,
    EngineStartFailed,
    EngineUnreachable,
    ModelCorrupt,
    ModelError,
    ModelFetchFailed,
    ModelNotFound,
    PluginInactive,
    PolicyStuck,
    PortInUse,
    ProfileError,
    SettingError,
    UnknownPolicy,
    UnsupportedPython,
)

__all__ = [
    "AgentFileError",
    "AgentrtError",
    "BudgetExceeded",
    "CalibrationError",
    "DefinitionError",
    "EngineError",
    "EngineInstallFailed",
    "EngineLost",
    "EngineMismatch",
    "EngineNotInstalled",
    "EngineStartFailed",
    "EngineUnreachable",
    "JournalDamaged",
    "JournalError",
    "JournalMismatch",
    "ModelCorrupt",
    "ModelError",
    "ModelFetchFailed",
    "ModelNotFound",
    "ModelRequestFailed",
    "NoAnswer",
    "PluginInactive",
    "PolicyStuck",
    "PortInUse",
    "ProfileError",
    "ProgramCancelled",
    "ProgramInputError",
    "ReplayError",
    "ReportUnavailable",
    "SettingError",
    "ToolFailed",
    "TraceError",
    "UnknownPolicy",
    "UnsupportedPython",
]


class AgentFileError(SettingError):
    """A file given to `agentrt run` is missing, fails to import or holds no usable agent."""


class DefinitionError(SettingError):
    """A function cannot become an agent or a tool as it is written."""


class ProgramInputError(SettingError):
    """The input of a program does not fit the parameters of its agent."""


class ModelRequestFailed(EngineError):
    """The engine refused a request, or its answer was not understood.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NoAnswer(AgentrtError):
    """The permitted turns of a loop are spent and the last reply holds no answer."""


class BudgetExceeded(AgentrtError):
    """The next call of a program would exceed its budget.

    Attributes:
        limit: name of the limit: turns, tokens, seconds or tool_calls.
    """

    def __init__(self, message: str, *, limit: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class ToolFailed(AgentrtError):
    """A tool that an agent called itself did not finish.

    Attributes:
        outcome: how it ended, a `ToolOutcome`.
    """

    def __init__(self, message: str, *, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class ProgramCancelled(AgentrtError):
    """A program that another one, or a block, waits for was cancelled."""


class ReportUnavailable(AgentrtError):
    """The report needs a package that is not installed."""


class JournalError(SettingError):
    """The journal of a run is missing, in use by another process, or cannot be written."""


class JournalDamaged(JournalError):
    """A journal is not as it was written, or its end is missing."""


class JournalMismatch(JournalError):
    """A program that is resumed does not do what its journal says it did."""


class TraceError(SettingError):
    """A trace file is missing, damaged, of no known format, or has an unusable value."""


class ReplayError(SettingError):
    """A replay cannot be made with these programs, lists and settings."""


class CalibrationError(EngineError):
    """A server cannot be measured: it is too small, or does not do what measuring takes."""
