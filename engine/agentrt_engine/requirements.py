"""What an engine consists of, per device. The sets exclude each other in one environment.

SGLang's own dependency list names CUDA packages, so on a CPU a plain `pip install sglang`
would replace torch and download many gigabytes. The CPU set is therefore listed here and
SGLang itself is installed without its dependencies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentrt_engine.device import Device

#: The plug-in touches private names of SGLang: exactly this version.
SGLANG_VERSION = "0.5.23"
CPU_TORCH_VERSION = "2.13.0"

_REQUIREMENT = re.compile(r"([\w.-]+?)(?:(==|>=)([\d.]+))?")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package: at one version (`==`), at least at one (`>=`), or at any (both empty)."""

    name: str
    operator: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """From pip's notation, of which only `==` and `>=` are used here."""
        match = _REQUIREMENT.fullmatch(text)
        if match is None:
            raise ValueError(f"requirement {text!r}: expected NAME, NAME==VERSION or NAME>=VERSION")
        name, operator, version = match.groups(default="")
        return cls(name, operator, version)

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.version}"

    def satisfied_by(self, installed: Mapping[str, str]) -> bool:
        """Whether `installed` (name → version) has it; local parts (`+cpu`) do not count."""
        found = installed.get(self.name)
        if found is None:
            return False
        public = found.partition("+")[0]
        if self.operator == "==":
            return public == self.version
        return _release(public) >= _release(self.version)


def _release(version: str) -> tuple[int, ...]:
    numbers = re.match(r"[\d.]*", version)
    return tuple(int(part) for part in (numbers[0] if numbers else "").split(".") if part)


def _parse_all(*texts: str) -> tuple[Requirement, ...]:
    return tuple(Requirement.parse(text) for text in texts)


#: Without it uvicorn parses HTTP in Python, which takes 0.4 ms of every request.
HTTP_PARSER = "httptools"

#: First and alone, because it may come from an index of its own.
CPU_TORCH = _parse_all(f"torch=={CPU_TORCH_VERSION}")

CPU_PACKAGES = _parse_all(
    "transformers==5.19.0",
    "tokenizers==0.23.2",
    "apache-tvm-ffi==0.1.11",
    "sentencepiece==0.2.1",
    "soundfile==0.13.1",
    "openai-harmony==0.0.4",
    "numpy",
    "IPython",
    "aiohttp",
    "dill",
    "einops",
    "fastapi",
    "gguf",
    HTTP_PARSER,
    "jsonschema",
    "loguru",
    "msgspec",
    # SGLang's metadata says 2.8.0; agent frameworks need a 3, and chat and streaming work with it.
    "openai>=3",
    "orjson",
    "partial_json_parser",
    "pillow",
    # Behind --enable-metrics.
    "prometheus_client",
    "psutil",
    "pybase64",
    "pydantic",
    "python-multipart",
    "pyzmq",
    "requests",
    "setproctitle",
    "tqdm",
    "uvicorn",
    "uvloop",
)

#: With `--no-deps`: their dependency lists would bring CUDA packages or another torch.
CPU_PACKAGES_ALONE = _parse_all(
    f"sglang=={SGLANG_VERSION}",
    "compressed-tensors==0.18.0",
    "xgrammar==0.2.7",
    "torchvision==0.28.0",
)

CUDA_PACKAGES = _parse_all(f"sglang=={SGLANG_VERSION}", HTTP_PARSER)


def engine_requirements(device: Device) -> tuple[Requirement, ...]:
    """Everything an engine for `device` must have."""
    if device is Device.CUDA:
        return CUDA_PACKAGES + _parse_all("torch")
    return CPU_TORCH + CPU_PACKAGES + CPU_PACKAGES_ALONE
