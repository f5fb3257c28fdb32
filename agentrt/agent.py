"""Agents: async functions whose docstring is the system prompt."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from pydantic import ValidationError

from agentrt.answer_form import AnswerForm
from agentrt.budget import NO_BUDGET, Budget
from agentrt.context import Context
from agentrt.errors import DefinitionError, ProgramInputError
from agentrt.signature import Signature, describe_function, read_signature
from agentrt.tool import Tool, check_tools
from agentrt.validation import explain_errors

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

AgentFunction = Callable[Concatenate[Context[Any], P], Coroutine[Any, Any, R]]

DEFAULT_MAX_TURNS = 8
DEFAULT_MAX_TOKENS = 512
DEFAULT_ANSWER_LIMIT = 600


@dataclass(frozen=True, slots=True)
class Agent(Generic[P, R_co]):
    """A program that can be run many times; made by `@agent`.

    Attributes:
        name: the name of the function.
        instructions: system prompt, the docstring of the function.
        function: the function itself; its first argument is the `Context` of the run.
        tools: what the model may call.
        adapter: name of the LoRA adapter, over the engine's model, that answers; None: that itself.
        lora_sharing: its programs share KV with those of other adapters as far as the engine's mode
            goes; exact or approximate by that mode, see docs/lora.md.
        budget: what a program may use in all.
        max_turns: model requests per `Context.loop`.
        max_tokens: generated tokens per model request.
        answer_limit: characters of an answer, where the agent has tools.
        temperature: of sampling; None leaves it to the engine.
        seed: of sampling; None leaves it to the engine.
        signature: parameters of the function without the `Context`.
        answer_form: of the answers of its loops.
        forks: a program that `Context.spawn` starts of it goes on from the parent's history.
    """

    name: str
    instructions: str
    function: AgentFunction[P, R_co]
    tools: tuple[Tool, ...]
    adapter: str | None
    lora_sharing: bool
    budget: Budget
    max_turns: int
    max_tokens: int
    answer_limit: int
    temperature: float | None
    seed: int | None
    signature: Signature
    answer_form: AnswerForm[Any]
    forks: bool = False

    def fork(self) -> Agent[P, R_co]:
        """This agent, as a child that knows what its parent knows.

        Its history begins with the parent's, so that the engine finds it in the KV cache; its own
        instructions come in its first prompt.
        """
        return replace(self, forks=True)

    def parse_input(self, text: str | None) -> dict[str, Any]:
        """Keyword arguments of a run, from what a user typed.

        None leaves every parameter at its default. A JSON object names the parameters.
        Anything else is the value of the first parameter.

        Raises:
            ProgramInputError: the text does not fit the parameters, or one of them is missing.
        """
        arguments: dict[str, Any] = {}
        if text is not None:
            named = _json_object(text)
            if named is not None and set(named) <= set(self.signature.names):
                arguments = named
            elif self.signature.names:
                arguments = {self.signature.names[0]: text}
            else:
                raise ProgramInputError(f"agent {self.name} takes no input, but got {text!r}")
        names = ", ".join(self.signature.names)
        return self._checked(
            arguments, hint=f"give --input TEXT, or a JSON object with the parameters {names}"
        )

    def pack_input(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments of a run as JSON can hold them."""
        packed: dict[str, Any] = self.signature.validator.dump_python(dict(arguments), mode="json")
        return packed

    def unpack_input(self, packed: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments that were packed.

        Raises:
            ProgramInputError: they do not fit the parameters any more.
        """
        return self._checked(packed, hint="its parameters have changed since: begin a new run")

    def _checked(self, arguments: Mapping[str, Any], *, hint: str) -> dict[str, Any]:
        try:
            return self.signature.validator.validate_python(arguments)
        except ValidationError as error:
            raise ProgramInputError(
                f"input of agent {self.name}: {explain_errors(error)}", hint=hint
            ) from error


@overload
def agent(function: AgentFunction[P, R], /) -> Agent[P, R]: ...


@overload
def agent(
    *,
    tools: Sequence[Tool] = (),
    adapter: str | None = None,
    lora_sharing: bool = False,
    budget: Budget = NO_BUDGET,
    max_turns: int = DEFAULT_MAX_TURNS,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    answer_limit: int = DEFAULT_ANSWER_LIMIT,
    temperature: float | None = None,
    seed: int | None = None,
) -> Callable[[AgentFunction[P, R]], Agent[P, R]]: ...


def agent(
    function: AgentFunction[P, R] | None = None,
    /,
    *,
    tools: Sequence[Tool] = (),
    adapter: str | None = None,
    lora_sharing: bool = False,
    budget: Budget = NO_BUDGET,
    max_turns: int = DEFAULT_MAX_TURNS,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    answer_limit: int = DEFAULT_ANSWER_LIMIT,
    temperature: float | None = None,
    seed: int | None = None,
) -> Agent[P, R] | Callable[[AgentFunction[P, R]], Agent[P, R]]:
    """Make an agent of an async function that takes a `Context` first.

    The docstring is the system prompt, the other parameters are the input of a run and the
    return value its output. See `Agent` for the arguments.

    Raises:
        DefinitionError: the function is not async, has no docstring or no `Context`, or a
            limit or a tool is not usable.
    """

    def make(function: AgentFunction[P, R]) -> Agent[P, R]:
        where = describe_function(function)
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"{where}: an agent is an async function", hint="write async def")
        if not function.__doc__:
            raise DefinitionError(f"{where}: an agent needs a docstring, it is the system prompt")
        signature = read_signature(function)
        if signature.context_parameter != next(iter(inspect.signature(function).parameters), ""):
            raise DefinitionError(
                f"{where}: the first parameter of an agent is its Context",
                hint=f"write async def {function.__name__}(ctx: Context, …)",
            )
        _check_limits(where, max_turns=max_turns, max_tokens=max_tokens, answer_limit=answer_limit)
        if adapter is not None and not adapter.strip():
            raise DefinitionError(f"{where}: adapter={adapter!r}; expected the name of an adapter")
        if lora_sharing and adapter is None:
            raise DefinitionError(f"{where}: lora_sharing=True needs an adapter")
        check_tools(where, tools)
        answer: type[Any] = signature.answer
        return Agent(
            name=function.__name__,
            instructions=inspect.cleandoc(function.__doc__),
            function=function,
            tools=tuple(tools),
            adapter=adapter,
            lora_sharing=lora_sharing,
            budget=budget,
            max_turns=max_turns,
            max_tokens=max_tokens,
            answer_limit=answer_limit,
            temperature=temperature,
            seed=seed,
            signature=signature,
            answer_form=AnswerForm.of(answer, where),
        )

    return make if function is None else make(function)


def _check_limits(where: str, **limits: int) -> None:
    for name, value in limits.items():
        if value < 1:
            raise DefinitionError(f"{where}: {name}={value}; expected at least 1")


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
