"""From what the user calls a model to a folder on disk."""

from __future__ import annotations

from pathlib import Path

from agentrt_engine.cache import models_dir
from agentrt_engine.errors import ModelNotFound
from agentrt_engine.models.catalog import CATALOG, DEFAULT_MODEL


def resolve_model(name_or_path: str | None = None) -> Path:
    """The folder of a model; its content is not looked at (see `integrity.check_model`).

    Args:
        name_or_path: the name of a fetched model or the path of a Hugging Face folder; None is
            the default model. A fetched model wins over a folder of the same name here, which
            `./NAME` still reaches.

    Raises:
        ModelNotFound: neither exists.
    """
    name = DEFAULT_MODEL.name if name_or_path is None else name_or_path
    if "/" not in name and (models_dir() / name).is_dir():
        return models_dir() / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if name in CATALOG:
        raise ModelNotFound(
            f"model {name} was not fetched yet (looked in {models_dir()})",
            hint="agentrt models fetch",
        )
    raise ModelNotFound(
        f"no model {name!r}: neither a folder nor one of {', '.join(fetched_models()) or 'none'} "
        f"in {models_dir()}",
        hint="give the path of a Hugging Face folder, or: agentrt models fetch",
    )


def fetched_models() -> list[str]:
    """Names of the models under the models directory, sorted; their content is not checked."""
    return sorted(config.parent.name for config in models_dir().glob("[!.]*/config.json"))
