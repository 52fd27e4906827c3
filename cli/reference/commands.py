"""The page of every command, from the commands themselves."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer.main
from typer.core import TyperArgument, TyperGroup

from cli.main import COMMANDS, build_app


def commands_page() -> str:
    """Every command with its options, in the order of `tcp --help`, as Markdown."""
    parts = ["# Commands\n\nEvery command has `--help`; those that report have `--json`.\n"]
    for name in COMMANDS:
        root: Any = typer.main.get_command(build_app(name))
        parts.extend(_described(root.commands[name], f"tcp {name}"))
    return "\n".join(parts)


def _described(command: Any, name: str) -> Iterator[str]:
    """The section of a command, and of those below it."""
    level = "##" if name.count(" ") == 1 else "###"
    yield f"{level} `{name}`\n"
    if command.help:
        yield command.help.strip() + "\n"
    if isinstance(command, TyperGroup):
        for below, one in command.commands.items():
            yield from _described(one, f"{name} {below}")
        return
    rows = [_row(parameter) for parameter in command.params if "--help" not in parameter.opts]
    if rows:
        yield "| option | meaning | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    if isinstance(parameter, TyperArgument):
        name = f"`{parameter.metavar or str(parameter.name).upper()}`"
    else:
        name = ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
    text = parameter.help or ""
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        text += f" One of {', '.join(str(choice.value) for choice in kind)}."
    return f"| {name} | {_cell(text)} | {_cell(_default(parameter))} |"


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or callable(value):
        return ""
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
