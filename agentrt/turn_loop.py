"""The message history of one program, and the loop of turns that extends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from agentrt.answer_form import AnswerForm
from agentrt.answer_text import AnswerText
from agentrt.chat import ChatReply, ChatRequest, Message
from agentrt.client import EngineClient
from agentrt.endpoint import Endpoint
from agentrt.errors import NoAnswer
from agentrt.interception import Interception, ToolResult
from agentrt.journal import ProgramJournal
from agentrt.program import Clock, Turn
from agentrt.spans import Spans
from agentrt.text import excerpt
from agentrt.turn_format import (
    Answer,
    Broken,
    Call,
    describe_tools,
    instructions,
    parse_reply,
    response_format,
)
from agentrt.validation import explain_errors
from agentrt_engine.wire.identity import ProgramTag

if TYPE_CHECKING:
    from agentrt.agent import Agent
    from agentrt.context import Context
    from agentrt.tool import Tool

T = TypeVar("T")

#: "required": the first turn of a loop is a call, if another turn is left for the answer.
ToolChoice = Literal["auto", "required"]


@dataclass(frozen=True, slots=True)
class History:
    """What a program knows at a moment, for a fork to go on from.

    Attributes:
        messages: so far.
        tools: that its prompts list.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]


class TurnLoop:
    """Asks the model, calls the tools it asks for, and asks again.

    The history only ever grows at its end, and replies are kept verbatim: each prompt begins
    with the previous prompt and reply, so that the engine finds them in its KV cache.
    """

    def __init__(
        self,
        agent: Agent[..., Any],
        *,
        client: EngineClient,
        endpoint: Endpoint,
        interception: Interception,
        spans: Spans,
        clock: Clock,
        journal: ProgramJournal,
        forked_from: History | None = None,
    ) -> None:
        self.messages: list[Message] = list(forked_from.messages) if forked_from else []
        # What the prompt lists of tools.
        self._shown: Sequence[Tool] = forked_from.tools if forked_from else agent.tools
        self._introduced = False
        self._is_fork = bool(self.messages)
        self._agent = agent
        self._client = client
        self._endpoint = endpoint
        self._interception = interception
        self._spans = spans
        self._clock = clock
        self._journal = journal
        self._told = ""
        self._previous_tools: list[dict[str, Any]] | None = None

    def history(self) -> History:
        """What the program knows now."""
        return History(tuple(self.messages), tuple(self._shown))

    async def run(
        self,
        context: Context[Any],
        prompt: str,
        form: AnswerForm[T],
        *,
        tools: Sequence[Tool],
        tool_choice: ToolChoice,
        max_turns: int,
        max_tokens: int,
    ) -> T:
        """Take turns until the model answers; the last permitted turn forces an answer.

        Raises:
            NoAnswer: the last turn gave none.
            BudgetExceeded: the program may not use more.
            EngineError: the engine was lost or refused a request.
        """
        told = instructions(form, with_tools=bool(tools))
        self._begin(prompt, told, tools)
        self._shown = self._listed(tools)
        if not told:
            return form.read((await self._turn(context, max_tokens, None)).text)
        by_name = {tool.name: tool for tool in tools}
        answer = form.constraint(self._agent.answer_limit)
        budget, program = self._agent.budget, context.program
        turns = budget.most_turns(program, max_turns)
        for remaining in reversed(range(turns)):
            last = not remaining
            may_call = bool(tools) and not last and budget.may_call(program)
            must_call = may_call and tool_choice == "required" and remaining == turns - 1
            constraint = response_format(tools if may_call else (), None if must_call else answer)
            reply = await self._turn(context, max_tokens, constraint)
            cut_at = reply.output_tokens if reply.finish_reason == "length" else None
            match parse_reply(reply.text, told=told, cut_at=cut_at):
                case Answer(value):
                    try:
                        return form.read(value)
                    except ValidationError as error:
                        problem = f"This answer does not fit: {explain_errors(error)}. {told}"
                case Broken(answer=str(text)) if form.is_text and last:
                    return form.read(text)
                case Broken(reason):
                    problem = reason
                case Call(name, arguments):
                    problem = ""
                    if may_call:
                        result = await self.call_tool(context, by_name, name, arguments)
                        self.messages.append(result.message(name))
            if problem and not last:
                self.messages.append({"role": "user", "content": problem})
        raise NoAnswer(
            f"{program.label} gave no answer in {turns} turns; "
            f"its last reply was {excerpt(reply.text)}",
            hint="raise max_turns or max_tokens; the engine must support response_format",
        )

    def _listed(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        """The tools that the prompt lists: the agent's always, so that its beginning stays.

        Templates render tools at the beginning, and another beginning would find nothing in the
        KV cache. What may be called is the decoder's constraint, not the list. A fork lists what
        its parent does.
        """
        if self._is_fork:
            return self._shown
        return [*self._agent.tools, *(tool for tool in tools if tool not in self._agent.tools)]

    def _begin(self, prompt: str, told: str, tools: Sequence[Tool]) -> None:
        """Append the prompt, and whatever the model was not told yet.

        That is who it is, and the form of its replies whenever it is another one.
        """
        parts = []
        if not self._introduced:
            parts.append(self._agent.instructions)
            if self._is_fork:
                unknown = [tool for tool in tools if tool not in self._shown]
                parts += [describe_tools(unknown)] if unknown else []
        if told != self._told:
            parts += [told] if told else []
            self._told = told or self._told
        if not self.messages:
            self.messages.append({"role": "system", "content": "\n\n".join(parts)})
            parts = []
        self.messages.append({"role": "user", "content": "\n\n".join([*parts, prompt])})
        self._introduced = True

    async def _turn(
        self,
        context: Context[Any],
        max_tokens: int,
        constraint: dict[str, Any] | None,
    ) -> ChatReply:
        program = context.program
        tools = [tool.description_for_model() for tool in self._shown]
        past = self._journal.past_turn(program, self.messages)
        answer_text = AnswerText(is_free=constraint is None)
        if past is None:
            reply = await self._ask(context, max_tokens, tools, constraint, answer_text)
        else:
            reply = past.reply()
            program.begin_turn()
            program.generated(reply.text, answer_text.feed(reply.text))
            program.end_turn(self._journal.as_turn(past))
        self._previous_tools = tools
        self.messages.append({"role": "assistant", "content": reply.text})
        return reply

    async def _ask(
        self,
        context: Context[Any],
        max_tokens: int,
        tools: list[dict[str, Any]],
        constraint: dict[str, Any] | None,
        answer_text: AnswerText,
    ) -> ChatReply:
        """Request a reply, and record it."""
        program, budget = context.program, self._agent.budget
        request = ChatRequest(
            messages=self.messages,
            max_tokens=budget.check_turn(program, max_tokens, self._clock()),
            tools=tools,
            response_format=constraint,
            temperature=self._agent.temperature,
            seed=self._agent.seed,
            adapter=program.adapter,
        )
        extends_previous = tools == self._previous_tools
        last = program.turns[-1] if extends_previous else None
        held_tokens = last.input_tokens + last.output_tokens if last else None
        program.begin_turn()
        started = self._clock()
        streams = program.is_followed

        def heard(piece: str) -> None:
            if chat.first_chunk_s is None:
                chat.first_chunk_s = self._clock() - started
            program.generated(piece, answer_text.feed(piece))

        with self._spans.chat(program, request, held_tokens=held_tokens, streams=streams) as chat:
            reply = chat.reply = await self._client.chat(
                request,
                endpoint=self._endpoint,
                tag=ProgramTag(
                    program.program_id,
                    program.parent.program_id if program.parent else None,
                    agent=program.agent,
                    max_turns=budget.turns,
                    lora_sharing=self._agent.lora_sharing or None,
                ),
                request_id=uuid4().hex,
                heard=heard if streams else None,
            )
        turn = Turn(
            started=started,
            ended=self._clock(),
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cached_tokens=reply.cached_tokens,
            queue_s=reply.queue_s,
            extends_previous=extends_previous,
            finish_reason=reply.finish_reason,
        )
        self._journal.turn_ended(self.messages, reply, turn)
        program.end_turn(turn)
        return reply

    async def call_tool(
        self,
        context: Context[Any],
        tools: Mapping[str, Tool],
        name: str,
        arguments: dict[str, Any],
        *,
        needs_value: bool = False,
    ) -> ToolResult:
        """A tool call of the model or of the agent itself.

        Args:
            needs_value: the result is needed as the tool returned it.

        Raises:
            BudgetExceeded: the program may make no more.
            EngineError: the tool itself used the engine, and that failed.
        """
        program, tool = context.program, tools.get(name)
        past = self._interception.recall(program, tool, name, arguments, needs_value=needs_value)
        if past is not None:
            return past
        self._agent.budget.check_tool(program, self._clock())
        return await self._interception.call(
            context, tools, name, arguments, keeps_value=needs_value
        )
