"""Settings: an author's class of annotated fields, filled from texts, and as a JSON schema."""

import copy
import dataclasses
import difflib
import json
import types
import typing

from .errors import ConfigError

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", tuple: "array", dict: "object"}


def declare(settings):
    """`settings` as a dataclass; a class with annotations alone becomes one, whose lists and dicts each instance has for itself."""
    if dataclasses.is_dataclass(settings):
        return settings
    annotated = getattr(settings, "__annotations__", {})
    for name, default in list(vars(settings).items()):
        if name in annotated and isinstance(default, (list, dict)):
            setattr(settings, name, dataclasses.field(default_factory=lambda default=default: copy.deepcopy(default)))
    return dataclasses.dataclass(settings)


def parse(settings, pairs):
    """An instance of the dataclass `settings` from names and texts."""
    fields = _fields(settings)
    values = {}
    for name, text in pairs:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            known = f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(fields) or 'none'}"
            raise ConfigError(f"unknown setting `{name}`; {known}")
        try:
            values[name] = _value(fields[name][0], text)
        except ValueError as error:
            raise ConfigError(f"setting `{name}` is `{text}`: {error}") from None
    missing = [f.name for f in dataclasses.fields(settings) if f.name not in values and _required(f)]
    if missing:
        raise ConfigError(f"missing setting `{missing[0]}`")
    return settings(**values)


def schema(settings):
    """The JSON schema of the dataclass `settings`, as text."""
    types_of = _fields(settings)
    properties, required = {}, []
    for field in dataclasses.fields(settings):
        kind, about = types_of[field.name]
        told = _schema(kind)
        if about:
            told["description"] = about
        if _required(field):
            required.append(field.name)
        elif field.default is not dataclasses.MISSING:
            told["default"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            told["default"] = field.default_factory()
        properties[field.name] = told
    return json.dumps({"type": "object", "properties": properties, "required": required, "additionalProperties": False})


def _required(field):
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fields(settings):
    """Type and description of each field."""
    fields = {}
    for name, kind in typing.get_type_hints(settings, include_extras=True).items():
        about = ""
        if typing.get_origin(kind) is typing.Annotated:
            kind, *extras = typing.get_args(kind)
            about = next((extra for extra in extras if isinstance(extra, str)), "")
        fields[name] = (kind, about)
    return fields


def _optional(kind):
    """`kind` without None, and whether that was in it."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        if len(parts) == 1:
            return parts[0], True
    return kind, False


def _schema(kind):
    kind, nullable = _optional(kind)
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
        return {"enum": list(typing.get_args(kind))}
    if origin not in _NAMES:
        raise TypeError(f"a setting cannot be a {kind}; use str, int, float, bool, list, dict or Literal")
    name = _NAMES[origin]
    told = {"type": [name, "null"] if nullable else name}
    if name == "array" and typing.get_args(kind):
        told["items"] = _schema(typing.get_args(kind)[0])
    return told


def _value(kind, text):
    kind, nullable = _optional(kind)
    origin = typing.get_origin(kind) or kind
    if nullable and text == "null":
        return None
    if origin is typing.Literal:
        options = {str(option): option for option in typing.get_args(kind)}
        if text not in options:
            raise ValueError(f"it must be one of {', '.join(options)}")
        return options[text]
    if origin is bool:
        if text not in ("true", "false"):
            raise ValueError("it must be true or false")
        return text == "true"
    if origin in (int, float):
        try:
            return origin(text.strip())
        except ValueError:
            raise ValueError("it must be a number") from None
    if origin in (list, tuple):
        items = _json(text, list) if text.lstrip().startswith("[") else [i.strip() for i in text.split(",") if i.strip()]
        inner = typing.get_args(kind)
        return origin(_value(inner[0], i) if inner and isinstance(i, str) else i for i in items)
    return _json(text, dict) if origin is dict else text


def _json(text, kind):
    value = json.loads(text)
    if not isinstance(value, kind):
        raise ValueError(f"it must be a {kind.__name__}")
    return value
