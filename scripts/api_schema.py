"""The OpenAPI document of the REST interface, with the messages of the live protocol among its schemas.

It is made from the routes alone: no service is built and no server is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from meeting_assistant import __version__
from meeting_assistant.app import ROUTES
from meeting_assistant.web import protocol

REF = "#/components/schemas/"

Schema = dict[str, Any]


def api_schema() -> Schema:
    """Return the document, the same for the same code."""
    app = FastAPI(title="Meeting Assistant", version=__version__)
    for module in ROUTES:
        app.include_router(module.router)
    document = app.openapi()
    schemas: dict[str, Schema] = document["components"]["schemas"]
    answers = [
        response
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation.get("responses", {}).values()
    ]
    _require_all_fields(schemas, answers)

    server = protocol.server_message.json_schema(mode="serialization", ref_template=f"{REF}{{model}}")
    received = server.pop("$defs")
    _require_all_fields(received, [server])
    client = protocol.client_message.json_schema(ref_template=f"{REF}{{model}}")
    sent = client.pop("$defs")
    _add_messages(schemas, "ServerMessage", server, received)
    _add_messages(schemas, "ClientMessage", client, sent)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def api_schema_json() -> str:
    """Return the document as text."""
    return json.dumps(api_schema(), indent=1, ensure_ascii=False) + "\n"


def _require_all_fields(schemas: dict[str, Schema], roots: list[Schema]) -> None:
    """Mark all fields of what the server sends as required: it leaves none out, but a schema's defaults hide that."""
    waiting = [name for root in roots for name in _references(root)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if "properties" in schemas[name]:
            schemas[name]["required"] = list(schemas[name]["properties"])
        waiting += _references(schemas[name])


def _add_messages(schemas: dict[str, Schema], union: str, root: Schema, parts: dict[str, Schema]) -> None:
    """Add the messages of one direction and what they are made of. A message `Pause` is called `PauseMessage`."""
    # Pydantic puts the module in front of a name that two models share.
    names = {name: name.rpartition("__")[2] for name in parts}
    names |= {name: names[name].removesuffix("Message") + "Message" for name in _references(root)}
    schemas[union] = _renamed(root, names)
    for name, added in names.items():
        part = _renamed(parts[name], names)
        if schemas.setdefault(added, part) != part:
            raise ValueError(f"The REST interface and the live protocol disagree about {added}.")


def _references(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(REF)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    """Return the schema with other names of the schemas that it refers to, and without nulls, as FastAPI has it."""
    if isinstance(schema, dict):
        return {key: _renamed(value, names) for key, value in schema.items() if value is not None}
    if isinstance(schema, list):
        return [_renamed(value, names) for value in schema]
    if isinstance(schema, str) and schema.startswith(REF):
        name = schema.removeprefix(REF)
        return REF + names.get(name, name)
    return schema
