"""`FILE.py[:AGENT]`: the agent that a user names on the command line."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from agentrt.agent import Agent
from agentrt.errors import AgentFileError, AgentrtError


def load_agent(target: str) -> Agent[..., Any]:
    """Import the file and pick the agent.

    As with `python FILE.py`, the file's folder comes first on the import path.

    Raises:
        AgentFileError: there is no such file, importing it fails, or it defines no agent, or
            several and none was named.
    """
    file, _, name = target.partition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise AgentFileError(f"no file {file}", hint="give FILE.py or FILE.py:AGENT")
    module = _import_file(path)
    agents = {
        attribute: value for attribute, value in vars(module).items() if isinstance(value, Agent)
    }
    if name:
        if name not in agents:
            raise AgentFileError(
                f"{file} has no agent {name!r}; its agents: {', '.join(agents) or 'none'}"
            )
        return agents[name]
    if not agents:
        raise AgentFileError(
            f"{file} defines no agent", hint="decorate an async function with @agent"
        )
    if len(agents) > 1:
        raise AgentFileError(
            f"{file} defines several agents: {', '.join(agents)}",
            hint=f"name one, as in {file}:{next(iter(agents))}",
        )
    return next(iter(agents.values()))


def _import_file(path: Path) -> ModuleType:
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise AgentFileError(f"{path} is not a Python file", hint="give FILE.py or FILE.py:AGENT")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except AgentrtError:
        raise
    except Exception as error:
        raise AgentFileError(_explain(path, error)) from error
    return module


def _explain(path: Path, error: Exception) -> str:
    """Where in the user's file it failed, and how."""
    own = str(path.resolve())
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == own]
    line, said = lines[-1] if lines else None, str(error)
    if isinstance(error, SyntaxError) and error.filename == own:
        line, said = error.lineno, error.msg
    where = f"{path}, line {line}" if line else str(path)
    return f"{where}: importing it failed: {type(error).__name__}: {said}"
