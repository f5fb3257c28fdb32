"""What an answer of a model looks like: text, or a value of a type."""

from __future__ import annotations

import json
from dataclasses import dataclass, is_dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from typing_extensions import is_typeddict

from agentrt.errors import DefinitionError
from agentrt.schema import Bounds, Schema, bounded, inline

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AnswerForm(Generic[T]):
    """The form of an answer.

    Attributes:
        adapter: reads the value that the model wrote.
        schema: JSON schema of the value as the model is told; None: text, of which it is told
            nothing.
    """

    adapter: TypeAdapter[T]
    schema: Schema | None

    @classmethod
    def of(cls, type_: type[T], where: str) -> AnswerForm[T]:
        """Answers of a type that JSON can express.

        Args:
            where: what asks for it, for messages.

        Raises:
            DefinitionError: it cannot.
        """
        if type_ is str:
            return cast("AnswerForm[T]", TEXT)
        try:
            adapter = TypeAdapter(type_)
            schema = inline(adapter.json_schema())
            bounded(schema)
        except (PydanticUserError, DefinitionError) as error:
            raise DefinitionError(
                f"{where}: an answer of this type cannot be asked for: {error}",
                hint="use a pydantic model, a dataclass or a TypedDict of JSON types",
            ) from error
        return cls(adapter, schema)

    @property
    def is_text(self) -> bool:
        """Whether the answer is plain text."""
        return self.schema is None

    def constraint(self, limit: int) -> Schema:
        """The bounded schema for the decoder.

        Args:
            limit: characters of a text.
        """
        if self.schema is None:
            return bounded({"type": "string"}, Bounds(string=limit))
        return bounded(self.schema)

    def described(self) -> str:
        """What stands for the answer in the instructions."""
        return "TEXT" if self.schema is None else "VALUE"

    def explained(self) -> str:
        """The sentence behind the instructions; empty for text."""
        if self.schema is None:
            return ""
        return f" VALUE fits this JSON schema: {json.dumps(self.schema, ensure_ascii=False)}"

    def read(self, value: Any) -> T:
        """The answer that the model meant.

        Raises:
            ValidationError: it is of another form.
        """
        # What JSON says of a value is taken literally: 5 is no text.
        return self.adapter.validate_python(value, strict=self.is_text or None)


TEXT: AnswerForm[str] = AnswerForm(TypeAdapter(str), None)


def describes_an_answer(annotation: Any) -> bool:
    """Whether a return annotation is itself the form of an answer: a type with named fields."""
    if not isinstance(annotation, type):
        return False
    return issubclass(annotation, BaseModel) or is_dataclass(annotation) or is_typeddict(annotation)
