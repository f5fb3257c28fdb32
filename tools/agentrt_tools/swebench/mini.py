"""mini-swe-agent: its loop and its prompts, with our model and our environment."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from agentrt.errors import SettingError
from agentrt_engine.cache import cache_dir
from agentrt_tools.command import CommandResult
from agentrt_tools.swebench.instance import CONTAINER_WORKDIR

#: The configuration of the project's own benchmark for models without tool calls.
DEFAULT_CONFIG = "swebench_backticks"

#: What a configuration takes for granted if it names no regular expression.
_ACTION = r"```mswea_bash_command\s*\n(.*?)\n```"

#: First line of the output of the command that hands a solution in.
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


class Program(Protocol):
    """What the loop is run by, which is in a thread of its own: these calls block."""

    def say(self, text: str) -> tuple[str, str]:
        """The model's reply to a text, and why it ended."""
        ...

    def run(self, command: str) -> CommandResult:
        """What came of a command."""
        ...


def load_config(spec: str) -> dict[str, Any]:
    """A configuration by name, or of a YAML file.

    Raises:
        SettingError: there is none, or it is not for replies in plain text.
    """
    _quiet()
    import yaml
    from jinja2 import Template, TemplateError
    from minisweagent.agents.default import AgentConfig
    from minisweagent.config import get_config_from_spec

    try:
        config: dict[str, Any] = get_config_from_spec(spec)
        agent, model = config["agent"], config["model"]
        missing = {"system_template", "instance_template"} - agent.keys()
        missing |= {"observation_template", "format_error_template"} - model.keys()
        if not missing:
            AgentConfig(**_known(agent))
            variables(config)
            re.compile(model.get("action_regex", _ACTION))
            for text in (*agent.values(), *model.values()):
                Template(text if isinstance(text, str) else "")
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        re.error,
        yaml.YAMLError,
        TemplateError,
    ) as error:
        raise SettingError(
            f"--config {spec}: no configuration of mini-swe-agent: {error}",
            hint=f"name one of its own, like {DEFAULT_CONFIG}, or a YAML file",
        ) from error
    if missing:
        raise SettingError(f"--config {spec}: without {', '.join(sorted(missing))}")
    if "action_regex" not in model and "mswea_bash_command" not in agent["instance_template"]:
        raise SettingError(
            f"--config {spec}: it wants tool calls, expected one for replies in plain text",
            hint=f"--config {DEFAULT_CONFIG}",
        )
    return config


class MiniAgent:
    """One run of mini-swe-agent's loop.

    Attributes:
        system_prompt: first message of every prompt.

    Args:
        config: see `load_config`.
        task: what the issue says.
        workdir: of the checkout, as its commands see it.
        program: runs it.
        step_limit: replies of the model; None is the configuration's.
        trajectory: where it writes down what it does.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        task: str,
        workdir: str,
        program: Program,
        *,
        step_limit: int | None,
        trajectory: Path,
    ) -> None:
        _quiet()
        from jinja2 import StrictUndefined, Template
        from minisweagent.agents.default import DefaultAgent

        settings = {name: _moved(value, workdir) for name, value in _known(config["agent"]).items()}
        if step_limit is not None:
            settings["step_limit"] = step_limit
        environment = config.get("environment") or {}
        model = _Model(config["model"], program)
        self._task = task
        self._loop = DefaultAgent(
            model, _Environment(environment, workdir, program), output_path=trajectory, **settings
        )
        template = Template(self._loop.config.system_template, undefined=StrictUndefined)
        self.system_prompt: str = template.render(**self._loop.get_template_vars(task=task))

    def run(self) -> tuple[str, str]:
        """Run to the end; how it ended, and the patch that was handed in. Blocks."""
        end = self._loop.run(self._task)
        return end.get("exit_status", ""), end.get("submission", "")


class _Model:
    """Its side of the model: asks for a reply to what is new, and finds the command in it.

    A reply without exactly one command stays in our history, which so only grows at its end;
    mini-swe-agent itself drops it.
    """

    def __init__(self, config: Mapping[str, Any], program: Program) -> None:
        self.config = config
        self._program = program
        self._known = 0

    def query(self, messages: list[dict[str, Any]], **_options: Any) -> dict[str, Any]:
        """The next message of the assistant."""
        from minisweagent.models.utils.actions_text import parse_regex_actions

        new = [each for each in messages[self._known :] if each["role"] == "user"]
        self._known = len(messages)
        text, finish_reason = self._program.say("\n\n".join(each["content"] for each in new))
        actions = parse_regex_actions(
            text,
            action_regex=self.config.get("action_regex", _ACTION),
            format_error_template=self.config["format_error_template"],
            template_kwargs={"finish_reason": finish_reason},
        )
        extra = {"actions": actions, "cost": 0.0, "timestamp": time.time()}
        return {"role": "assistant", "content": text, "extra": extra}

    def format_message(self, **message: Any) -> dict[str, Any]:
        """A message as it is."""
        return message

    def format_observation_messages(
        self,
        message: dict[str, Any],
        outputs: list[dict[str, Any]],
        template_vars: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """What the model is shown of commands."""
        from minisweagent.models.utils.actions_text import format_observation_messages

        template = self.config["observation_template"]
        found: list[dict[str, Any]] = format_observation_messages(
            outputs, observation_template=template, template_vars=template_vars
        )
        return found

    def get_template_vars(self, **_more: Any) -> dict[str, Any]:
        """Nothing that templates ask for."""
        return {}

    def serialize(self) -> dict[str, Any]:
        """For the trajectory."""
        return {"info": {"config": {"model_type": "agentrt"}}}


class _Environment:
    """Its side of the environment."""

    def __init__(self, config: Mapping[str, Any], workdir: str, program: Program) -> None:
        self.config = {**config, "cwd": workdir}
        self._program = program

    def execute(self, action: dict[str, Any], cwd: str = "") -> dict[str, Any]:
        """Run a command; ends the loop if it hands a solution in."""
        from minisweagent.exceptions import Submitted

        done = self._program.run(action["command"])
        if done.stopped:
            why = f"An error occurred while executing the command: {done.stopped}"
            return {"output": done.output, "returncode": -1, "exception_info": why}
        first, _, rest = done.output.lstrip().partition("\n")
        if first.strip() == SUBMIT and done.exit_code == 0:
            extra = {"exit_status": "Submitted", "submission": rest}
            raise Submitted({"role": "exit", "content": rest, "extra": extra})
        return {"output": done.output, "returncode": done.exit_code, "exception_info": ""}

    def get_template_vars(self, **_more: Any) -> dict[str, Any]:
        """What templates may ask for: the system, and the configuration."""
        system = os.uname()
        names = ("sysname", "nodename", "release", "version", "machine")
        known = {name: getattr(system, name) for name in names}
        return {**self.config, **known, "system": system.sysname}

    def serialize(self) -> dict[str, Any]:
        """For the trajectory."""
        return {"info": {"config": {"environment": self.config, "environment_type": "agentrt"}}}


def variables(config: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration sets in the environment of commands."""
    return dict((config.get("environment") or {}).get("env") or {})


def _known(agent: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the loop, without those of its other classes."""
    from minisweagent.agents.default import AgentConfig

    return {name: value for name, value in agent.items() if name in AgentConfig.model_fields}


def _moved(value: Any, workdir: str) -> Any:
    """A template in which the checkout lies where it is here."""
    return value.replace(CONTAINER_WORKDIR, workdir) if isinstance(value, str) else value


def _quiet() -> None:
    """Before it is imported: no greeting, and no folder in the user's configuration."""
    os.environ.setdefault("MSWEA_SILENT_STARTUP", "1")
    os.environ.setdefault("MSWEA_GLOBAL_CONFIG_DIR", str(cache_dir() / "mini-swe-agent"))
