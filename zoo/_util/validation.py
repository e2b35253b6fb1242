"""Validation errors of YAML files in plain words: the file, the entry, the key, and the nearest valid key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from zoo._util.text import nearest
from zoo.errors import RegistryError

# The C parser is ten times faster and is in every wheel of PyYAML.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeys(_Safe):  # type: ignore[misc]
    """A safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]


_PLAIN = {
    "missing": "is missing",
    "string_type": "must be text (put it in quotes)",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "union_tag_not_found": "does not say which kind it is",
}


def load_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that holds a mapping. A key that is given twice is an error, not "the last one wins".

    Raises:
        RegistryError: Not there, not YAML, or not a mapping; names the file and the line.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a safe loader
    except FileNotFoundError:
        raise RegistryError("there is no such file", where=str(path), fix="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError("the file cannot be read", where=str(path), why=str(error)) from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RegistryError("the file is not valid YAML", where=f"{path}{line}", why=error.problem) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RegistryError("the file is not valid YAML", where=str(path), why=str(error)) from None
    if not isinstance(data, dict):
        raise RegistryError("the file does not hold a mapping", where=str(path), fix="write 'key: value' lines")
    return data


def explain(
    error: ValidationError, where: str, data: Any = None, model: type[BaseModel] | None = None
) -> RegistryError:
    """Turns pydantic's error into one of ours.

    Args:
        error: What pydantic raised.
        where: The file.
        data: What was validated; list items are then named (``models.hog-ridge`` instead of ``models[3]``).
        model: The model that was validated; found by its name when not given.

    Returns:
        An error whose first line is the key path and what is wrong there; further errors are in ``why``.
    """
    model = model or _model_named(error.title)
    found = [_one(e, data, model) for e in error.errors(include_url=False)]
    lines = list(dict.fromkeys(text for text, _ in found))
    fixes = list(dict.fromkeys(fix for _, fix in found if fix))
    more = lines[1:6] + ([f"and {len(lines) - 6} more"] if len(lines) > 6 else [])
    return RegistryError(lines[0], where=where, why="; ".join(more) or None, fix="; ".join(fixes[:6]) or None)


def _one(item: Mapping[str, Any], data: Any, model: type[BaseModel] | None) -> tuple[str, str | None]:
    kind, location = item["type"], tuple(item["loc"])
    if kind == "extra_forbidden":
        key, parent = str(location[-1]), _path(location[:-1], data)
        known = _keys(model, location[:-1]) if model else []
        close = nearest(key, known)
        text = f"{parent + ': ' if parent else ''}unknown key '{key}'"
        if close:
            return text, "did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
        return text, f"valid keys: {', '.join(known)}" if known else None
    path = _path(location, data)
    given = item.get("input")
    fix = None
    if kind in _PLAIN:
        message = _PLAIN[kind]
    elif kind in ("literal_error", "union_tag_invalid"):
        context = item.get("ctx", {})
        valid = _quoted(str(context.get("expected", context.get("expected_tags", ""))))
        shown = context.get("tag", given)
        message = f"'{shown}' is not one of {', '.join(valid)}" if valid else item["msg"]
        if close := nearest(str(shown), valid):
            fix = f"did you mean '{close[0]}'?"
    elif kind == "string_pattern_mismatch":
        message = f"'{given}' does not have the form {item['ctx']['pattern']}"
    else:
        message = str(item["msg"]).removeprefix("Value error, ")
        if kind != "value_error" and isinstance(given, str | int | float):
            message += f" (it is '{given}')"
    separator = " " if kind in _PLAIN else ": "
    return (f"{path}{separator}{message}" if path else message), fix


def _quoted(text: str) -> list[str]:
    """Returns the values of ``'a', 'b' or 'c'``."""
    return text.replace("'", "").replace(" or ", ", ").split(", ") if text else []


def _path(location: Sequence[Any], data: Any) -> str:
    """Writes a key path; items of a list are shown by their name where they have one."""
    out = ""
    for part in location:
        if isinstance(part, int):
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                data = None
            name = data.get("name", data.get("id")) if isinstance(data, Mapping) else None
            out += f"[{name if isinstance(name, str) else part}]"
        else:
            if isinstance(data, Mapping) and part in data:
                data = data[part]
            elif isinstance(data, Mapping) and data and part in data.values():
                continue  # the tag of a union, which is a value in the file and no key
            out += f".{part}" if out else str(part)
    return out


def _model_named(name: str) -> type[BaseModel] | None:
    stack = list(BaseModel.__subclasses__())
    while stack:
        model = stack.pop()
        if model.__name__ == name and model.__module__.startswith("zoo"):
            return model
        stack += model.__subclasses__()
    return None


def _keys(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Returns the keys that are valid at a place of a model's data."""
    models = {model}
    for part in location:
        if isinstance(part, int):
            continue
        inside = {m for one in models if part in one.model_fields for m in _models(one.model_fields[part].annotation)}
        if inside:
            models = inside
        elif tagged := {m for m in models if _has_tag(m, part)}:
            models = tagged
    return sorted({key for one in models for key in one.model_fields})


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _has_tag(model: type[BaseModel], tag: Any) -> bool:
    return any(
        get_origin(f.annotation) is Literal and tag in get_args(f.annotation) for f in model.model_fields.values()
    )
