"""Adapters that were trained, for tests: so briefly that they know little, but not nothing.

They are trained once on a machine, in about 15 s for two on one core, and kept in the cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
from pathlib import Path

import msgspec

from agentrt_engine import adapters
from agentrt_engine.adapters.make import PACKAGES, make_adapters
from agentrt_engine.adapters.tasks import Task
from agentrt_engine.adapters.training import Training, Variant
from agentrt_engine.cache import cache_dir
from agentrt_engine.models.integrity import digest


def trained_adapters(model: Path, variant: Variant = Variant.LORA) -> dict[Task, Path]:
    """Folders of one adapter per task, from the cache or made now.

    Adapters of another model, of other code here or of other versions of torch and transformers
    are others.
    """
    trainings = [Training(task, variant, steps=6, batch=2, held_out=4) for task in Task]
    folder = cache_dir() / "adapters" / _identity(model, trainings)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
            made = Path(name) / "made"
            make_adapters(model, made, trainings)
            made.rename(folder)
    return {task: folder / task for task in Task}


def _identity(model: Path, trainings: list[Training]) -> str:
    """Of whatever decides the bytes of the adapters."""
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    code = [path.read_text() for path in sorted(Path(adapters.__path__[0]).glob("*.py"))]
    content = [digest(path).sha256 for path in sorted(model.iterdir()) if path.is_file()]
    return hashlib.sha256(msgspec.json.encode([versions, code, content, trainings])).hexdigest()[
        :16
    ]
