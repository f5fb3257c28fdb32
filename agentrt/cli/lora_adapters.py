"""`agentrt lora list`, `load` and `drop`: the adapters of a running engine."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import msgspec
from rich.table import Table

from agentrt.cli import console
from agentrt.cli.engine_api import EngineApi, EngineKey
from agentrt.cli.options import JsonTarget
from agentrt.errors import SettingError
from agentrt.lora.engine_adapters import engine_adapters

#: Weights come from a disk.
_LOAD_TIMEOUT_S = 600.0


class ListedAdapter(TypedDict):
    """One line of `agentrt lora list`."""

    name: str
    model: str
    path: str


def list_adapters(url: str, *, engine_key: EngineKey = None, json: JsonTarget = None) -> None:
    """List the adapters that an engine has loaded, and how requests name them.

    Examples:

        agentrt lora list http://127.0.0.1:30000

    Parameters
    ----------
    url
        An engine started by agentrt serve.
    """
    with EngineApi(url, engine_key) as api:
        adapters = [
            ListedAdapter(name=each.name, model=f"{each.base}:{each.name}", path=each.path)
            for each in engine_adapters(api)
        ]
    console.write_json(json, adapters)
    to = console.results(json)
    if not adapters:
        to.print(f"{url} has no adapters loaded", markup=False)
        return
    table = Table("name", "model in requests", "path")
    for adapter in adapters:
        table.add_row(adapter["name"], adapter["model"], adapter["path"])
    to.print(table)


def load(url: str, adapter: str, *, engine_key: EngineKey = None) -> None:
    """Load an adapter into a running engine; requests may name it at once.

    The engine must serve adapters already, and of this rank and these projections: see
    --lora and --lora-rank of agentrt serve.

    Examples:

        agentrt lora load http://127.0.0.1:30000 reviewer=adapters/reviewer

    Parameters
    ----------
    url
        An engine started by agentrt serve.
    adapter
        As NAME=PATH, a folder in PEFT's format on the engine's machine.
    """
    name, equals, path = adapter.partition("=")
    if not (name and equals and path):
        raise SettingError(f"{adapter!r}: expected NAME=PATH")
    folder = Path(path)
    body = {"lora_name": name, "lora_path": str(folder.resolve() if folder.exists() else folder)}
    with EngineApi(url, engine_key, timeout_s=_LOAD_TIMEOUT_S) as api:
        api.request("POST", "/load_lora_adapter", msgspec.json.encode(body))
    console.progress.print(f"the engine at {url} has adapter {name}", markup=False)


def drop(url: str, name: str, *, engine_key: EngineKey = None) -> None:
    """Drop an adapter from a running engine; requests that use it end first.

    Examples:

        agentrt lora drop http://127.0.0.1:30000 reviewer

    Parameters
    ----------
    url
        An engine started by agentrt serve.
    name
        Of the adapter.
    """
    with EngineApi(url, engine_key, timeout_s=_LOAD_TIMEOUT_S) as api:
        api.request("POST", "/unload_lora_adapter", msgspec.json.encode({"lora_name": name}))
    console.progress.print(f"the engine at {url} dropped adapter {name}", markup=False)
