"""The message history of one program, and the loop of turns that extends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from agentrt.chat import ChatReply, ChatRequest, Message
from agentrt.client import EngineClient
from agentrt.endpoint import Endpoint
from agentrt.errors import NoAnswer
from agentrt.interception import Interception
from agentrt.program import Clock, Turn
from agentrt.spans import Spans, set_reply
from agentrt.text import excerpt
from agentrt.turn_format import INSTRUCTIONS, Answer, Broken, Call, parse_reply, response_format
from agentrt_engine.wire.identity import ProgramTag

if TYPE_CHECKING:
    from agentrt.agent import Agent
    from agentrt.context import Context
    from agentrt.tool import Tool

#: "required": the first turn of a loop is a call, if another turn is left for the answer.
ToolChoice = Literal["auto", "required"]


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
    ) -> None:
        self.messages: list[Message] = []
        self._agent = agent
        self._client = client
        self._endpoint = endpoint
        self._interception = interception
        self._spans = spans
        self._clock = clock
        self._format_told = False
        self._previous_tools: list[dict[str, Any]] | None = None

    async def run(
        self,
        context: Context,
        prompt: str,
        *,
        tools: Sequence[Tool],
        tool_choice: ToolChoice,
        max_turns: int,
        max_tokens: int,
    ) -> str:
        """Take turns until the model answers; the last permitted turn forces an answer.

        Raises:
            NoAnswer: the last turn gave none.
            EngineError: the engine was lost or refused a request.
        """
        self._begin(prompt, tools)
        shown = self._shown(tools)
        if not tools:
            return (await self._turn(context, shown, max_tokens, None)).text
        by_name = {tool.name: tool for tool in tools}
        limit = self._agent.answer_limit
        for remaining in reversed(range(max_turns)):
            must_call = tool_choice == "required" and remaining == max_turns - 1 > 0
            constraint = response_format(tools if remaining else (), None if must_call else limit)
            reply = await self._turn(context, shown, max_tokens, constraint)
            cut_at = reply.output_tokens if reply.finish_reason == "length" else None
            match parse_reply(reply.text, cut_at=cut_at):
                case Answer(text):
                    return text
                case Broken(answer=str(text)) if not remaining:
                    return text
                case Broken(reason) if remaining:
                    self.messages.append({"role": "user", "content": reason})
                case Call(name, arguments) if remaining:
                    await self._call(context, by_name, name, arguments)
        raise NoAnswer(
            f"{context.program.label} gave no answer in {max_turns} turns; "
            f"its last reply was {excerpt(reply.text)}",
            hint="raise max_turns or max_tokens; the engine must support response_format",
        )

    def _shown(self, tools: Sequence[Tool]) -> list[Tool]:
        """The tools that the prompt lists: the agent's always, so that its beginning stays.

        Templates render tools at the beginning, and another beginning would find nothing in the
        KV cache. What may be called is the decoder's constraint, not the list.
        """
        return [*self._agent.tools, *(tool for tool in tools if tool not in self._agent.tools)]

    def _begin(self, prompt: str, tools: Sequence[Tool]) -> None:
        """Append the prompt, and the reply format where the model was not told it yet."""
        tell_format = bool(tools) and not self._format_told
        self._format_told |= tell_format
        if not self.messages:
            parts = [self._agent.instructions, *([INSTRUCTIONS] if tell_format else [])]
            self.messages.append({"role": "system", "content": "\n\n".join(parts)})
        elif tell_format:
            prompt = f"{INSTRUCTIONS}\n\n{prompt}"
        self.messages.append({"role": "user", "content": prompt})

    async def _turn(
        self,
        context: Context,
        tools: Sequence[Tool],
        max_tokens: int,
        constraint: dict[str, Any] | None,
    ) -> ChatReply:
        program = context.program
        request = ChatRequest(
            messages=self.messages,
            max_tokens=max_tokens,
            tools=[tool.description_for_model() for tool in tools],
            response_format=constraint,
            temperature=self._agent.temperature,
            seed=self._agent.seed,
        )
        program.begin_turn()
        started = self._clock()
        with self._spans.chat(program, request) as span:
            reply = await self._client.chat(
                request,
                endpoint=self._endpoint,
                tag=ProgramTag(program.program_id),
                request_id=uuid4().hex,
            )
            set_reply(span, reply)
        program.end_turn(
            Turn(
                started=started,
                ended=self._clock(),
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
                cached_tokens=reply.cached_tokens,
                queue_s=reply.queue_s,
                extends_previous=request.tools == self._previous_tools,
                finish_reason=reply.finish_reason,
            )
        )
        self._previous_tools = request.tools
        self.messages.append({"role": "assistant", "content": reply.text})
        return reply

    async def _call(
        self, context: Context, tools: dict[str, Tool], name: str, arguments: dict[str, Any]
    ) -> None:
        call_id = f"call_{uuid4().hex}"
        result = await self._interception.call(context, tools, name, arguments, call_id=call_id)
        self.messages.append(
            {"role": "tool", "tool_call_id": call_id, "name": name, "content": result.text}
        )
