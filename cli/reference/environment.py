"""The settings as text: the environment file of a deployment, and a page of the documentation. Pure."""

from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from config.settings import PROJECT_ROOT, Settings

_HEAD = """\
# Every setting, with its default; take the # away in front of one to change it. Read by systemd
# (EnvironmentFile=) and by docker compose (env_file:), so: no quotes, no `export`, no comment behind a value.
# Keep it readable by its owner only, for it may hold passwords. Made from config/settings.py by
# `make reference`.
"""


def environment_file() -> str:
    """deploy/tcp.env: each variable with its meaning, what it may be, and its default, commented out."""
    blocks = [_HEAD]
    for name, field in Settings.model_fields.items():
        lines = [field.description or "", allowed(field)]
        words = "\n".join(f"# {line}" for line in lines if line)
        blocks.append(f"{words}\n#{variable(name)}={default(field)}\n")
    return "\n".join(blocks)


def settings_page() -> str:
    """The same as a table in Markdown."""
    rows = [
        f"| `{variable(name)}` | {_cell(field.description or '')} | {_cell(allowed(field))} "
        f"| {_code(default(field))} |"
        for name, field in Settings.model_fields.items()
    ]
    head = (
        "# Settings\n\nEnvironment variables; all have defaults. `tcp doctor` says what is wrong with them, "
        "and `deploy/tcp.env` lists them for a server.\n\n"
        "| variable | meaning | may be | default |\n|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"TCP_{name.upper()}"


def default(field: FieldInfo) -> str:
    """The default as one writes it; paths below the checkout relative to it, nothing where it is unset."""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.removeprefix(f"{PROJECT_ROOT}/")


def allowed(field: FieldInfo) -> str:
    """`one of a, b`, `a number from 1 to 100`, `true or false`; empty for any text."""
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not NoneType]
    words = [word for kind in kinds if (word := _word(kind))]
    return f"{', '.join(words)}{_bounds(field)}"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if annotation is None or get_origin(annotation) is Literal or not get_args(annotation):
        return (annotation,)
    return get_args(annotation)


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    return {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}.get(kind, "")


def _bounds(field: FieldInfo) -> str:
    parts = []
    for limit in field.metadata:
        match limit:
            case Ge(ge=number):
                parts.append(f"at least {number}")
            case Gt(gt=number):
                parts.append(f"above {number}")
            case Le(le=number):
                parts.append(f"at most {number}")
            case Lt(lt=number):
                parts.append(f"below {number}")
            case _:
                continue
    return f", {', '.join(parts)}" if parts else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
