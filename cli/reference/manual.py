"""A hook of MkDocs: pages that are made from the code while the manual is built, so none is stale."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cli.reference.commands import commands_page
from cli.reference.environment import settings_page
from cli.reference.tables import api_page, files_page, tables_page
from config.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from mkdocs.structure.files import Files


def architecture_page() -> str:
    """ARCHITECTURE.md, its links as seen from the manual's folder."""
    text = (PROJECT_ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    return text.replace("](docs/", "](")


PAGES: Mapping[str, Callable[[], str]] = {
    "architecture.md": architecture_page,
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/files.md": files_page,
    "reference/api.md": api_page,
    "reference/tables.md": tables_page,
}


def on_files(files: "Files", config: Any) -> "Files":
    """MkDocs asks for the files of the manual: these are added to those of the folder."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        files.append(File.generated(config, name, content=page()))
    return files
