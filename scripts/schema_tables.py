"""Tables in Markdown for the fields of a JSON Schema, as the pages of the live protocol and of REST show them."""

from __future__ import annotations

from typing import Any


def fields_table(
    definition: dict[str, Any], hidden: tuple[str, ...] = (), only: tuple[str, ...] | None = None
) -> list[str]:
    """Return one row for each property, under a header; nothing for a model without properties."""
    rows = [
        _row(name, field, definition)
        for name, field in definition.get("properties", {}).items()
        if name not in hidden and (only is None or name in only)
    ]
    return ["| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows] if rows else []


def parts_section(parts: dict[str, dict[str, Any]]) -> list[str]:
    """Return a section for each model that others refer to, in alphabetical order."""
    lines: list[str] = []
    for name, definition in sorted(parts.items()):
        lines += ["", f"### Part: {name}", "", prose(definition.get("description", "")), ""]
        lines += fields_table(definition) if "properties" in definition else [f"{_kind(definition)}."]
    return lines


def type_text(field: dict[str, Any]) -> str:
    """Return a JSON Schema type in few words, linked to the part that it names."""
    if "$ref" in field:
        name = part_name(ref_key(field))
        return f"[{name}](#part-{name.lower()})"
    if options := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(type_text(option) for option in options)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "prefixItems" in field:
        return f"list of {', '.join(type_text(one) for one in field['prefixItems'])}"
    if field.get("type") == "array":
        return f"list of {type_text(field['items'])}{_limits(field)}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {type_text(field['additionalProperties'])}"
    if field.get("contentMediaType") == "application/octet-stream":
        return "file"
    return f"{field.get('type', 'any')}{_limits(field)}"


def ref_key(reference: dict[str, Any]) -> str:
    """Return the key of the definition that a reference points to."""
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def part_name(key: str) -> str:
    """Return the name of a model; pydantic puts its module in front where two models share it."""
    return key.rsplit("__", 1)[-1]


def prose(text: str) -> str:
    """Join the lines of a docstring."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """Return a docstring as the content of a table's cell."""
    return prose(text).replace("|", "\\|")


def _kind(definition: dict[str, Any]) -> str:
    """Say what a definition without properties stands for."""
    return f"One of: {type_text(definition)}" if "enum" in definition else f"Type: {type_text(definition)}"


def _row(name: str, field: dict[str, Any], definition: dict[str, Any]) -> str:
    meaning = cell(field.get("description", ""))
    return f"| `{name}` | {type_text(field)} | {_default(name, field, definition)} | {meaning} |"


def _limits(field: dict[str, Any]) -> str:
    words = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "minLength": "not empty",
        "maxLength": "at most {} characters",
        "maxItems": "at most {}",
    }
    found = [words[key].format(f"{field[key]:g}") for key in words if key in field]
    return f", {', '.join(found)}" if found else ""


def _default(name: str, field: dict[str, Any], definition: dict[str, Any]) -> str:
    value = field.get("default", {})
    if isinstance(value, dict):
        return "required" if name in definition.get("required", ()) else "empty"
    if value is None:
        return "`null`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else '`""`'
