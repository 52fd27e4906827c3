"""Bot files and what they say, checked against everything they refer to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Engine

from config.files import BotFile, ConfigError, RiskFile, StrategyFile, parse_model, read_document, read_model
from config.settings import Settings
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.warehouse.bot_readings import identity_of
from pipelines.warehouse.bots import list_bots, save_bot, was_deleted
from pipelines.warehouse.sql import storable
from strategies import registry

SUFFIXES = (".json", ".yaml", ".yml")
MOST_CANDLES = 50_000
"""Candles that a bot keeps for its strategy and its sizes."""


def bots_folder(settings: Settings) -> Path:
    """Where bot files lie."""
    return settings.config_dir / "bots"


def read_bot_file(path: Path, settings: Settings) -> BotFile:
    """One bot with its strategy inline. ConfigError names file, field and what was expected."""
    return check_bot(read_document(path), str(path), settings)


def check_bot(document: object, where: str, settings: Settings) -> BotFile:
    """A bot document, complete and usable: strategy and parameters known, candles collected."""
    bot = parse_model(BotFile, document, where)
    if bot.strategy_file is not None:
        folder = settings.config_dir / "strategies"
        if Path(bot.strategy_file).name != bot.strategy_file:
            raise ConfigError(f"{where}: strategy_file: must be the name of a file in {folder}")
        if not (folder / bot.strategy_file).is_file():
            known = ", ".join(path.name for path in documents(folder)) or "none"
            raise ConfigError(
                f"{where}: strategy_file: {bot.strategy_file} is not in {folder}; there are {known}"
            )
        strategy = read_model(StrategyFile, folder / bot.strategy_file)
    else:
        strategy = StrategyFile(strategy_name=bot.strategy or "", parameters=bot.parameters)
    resolved = bot.resolved(strategy)
    try:
        Timeframe.parse(resolved.timeframe)
        _require("timeframe", resolved.timeframe, settings.timeframe_list, "TCP_TIMEFRAMES")
        _require("symbol", resolved.symbol, settings.symbol_list, "TCP_SYMBOLS")
        built = registry.build(resolved.strategy or "", resolved.parameters, resolved.timeframe)
        _check_size(resolved.risk, built.parameters.risk_percentage)
    except BadInput as error:
        raise ConfigError(f"{where}: {error}") from None
    return resolved.model_copy(update={"strategy": built.name})


def read_folder(
    settings: Settings, owners: Mapping[str, str | None] = MappingProxyType({})
) -> tuple[dict[Path, BotFile], dict[Path, str]]:
    """Every bot file: the usable ones, and for each of the others one line that says what is wrong.

    Of two files with one id the second is a problem of its own. First is the one in `owners` (id to name of
    the file that the bot has so far), else the first by name.
    """
    bots: dict[Path, BotFile] = {}
    problems: dict[Path, str] = {}
    first: dict[str, Path] = {}
    folder = bots_folder(settings)
    for path in _files_of(folder):
        if not _has_a_name(path):
            problems[path] = f"{storable(str(path))}: its name is not UTF-8 text: rename it"
    for path in sorted(documents(folder), key=lambda path: path.name not in owners.values()):
        try:
            bot = read_bot_file(path, settings)
        except ConfigError as error:
            problems[path] = str(error)
            continue
        if bot.bot_id in first:
            taken = f"{bot.bot_id!r} is already the id of {first[bot.bot_id].name}"
            problems[path] = f"{path}: bot_id: {taken}; choose another"
        else:
            first[bot.bot_id] = path
            bots[path] = bot
    return bots, problems


def files_of(settings: Settings, bot_id: str) -> list[Path]:
    """The files that say they are this bot's, usable or not; one that cannot be read is nobody's."""
    found = []
    for path in documents(bots_folder(settings)):
        try:
            document = read_document(path)
        except ConfigError:
            continue
        if isinstance(document, dict) and document.get("bot_id") == bot_id:
            found.append(path)
    return found


def create_bot(engine: Engine, settings: Settings, path: Path) -> BotFile:
    """A new bot from a file anywhere: checked, copied into the bots folder if it lies elsewhere, and stored.

    Doing it again is harmless. ConfigError, and nothing is written, when the file is wrong or the id taken.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: its name must end in one of {', '.join(SUFFIXES)}")
    bot = read_bot_file(path, settings)
    folder = bots_folder(settings)
    lies_there = path.resolve().parent == folder.resolve()
    target = path if lies_there else folder / f"{bot.bot_id}{path.suffix}"
    stored = {row.name: row for row in list_bots(engine, deleted=True)}
    known = stored.get(bot.bot_id)
    if known is not None and known.deleted_at is not None:
        raise was_deleted(bot.bot_id, known.deleted_at)
    if known is not None and known.config != bot.document():
        raise ConfigError(f"{path}: bot_id: {bot.bot_id!r} exists already; choose another id")
    for other in files_of(settings, bot.bot_id):
        if other.resolve() not in {path.resolve(), target.resolve()}:
            raise ConfigError(f"{path}: bot_id: {bot.bot_id!r} is already the id of {other.name}")
    if not lies_there:
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise ConfigError(f"{path}: bot_id: the file {target} is there already; choose another id")
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".part")
        unfinished.write_bytes(path.read_bytes())
        try:
            save_bot(engine, bot, target.name, "cli", identity_of(settings.home))
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    else:
        save_bot(engine, bot, target.name, "cli", identity_of(settings.home))
    return bot


def folder_version(settings: Settings) -> tuple[tuple[str, int, int], ...]:
    """Something that changes whenever a bot, a parameter file or a strategy of the user's does: names, times
    and sizes."""
    files = [*_files_of(bots_folder(settings)), *documents(settings.config_dir / "strategies")]
    files += sorted(settings.strategies_dir.glob("*.py"))
    seen = []
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # removed between listing and looking; the next look sees it gone
        except OSError as error:
            seen.append((str(path), 0, error.errno or 0))
            continue
        seen.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(seen)


def documents(folder: Path) -> list[Path]:
    """JSON and YAML files of a folder, by name; none when there is no such folder, and none whose name is no
    text, which nothing could refer to."""
    return [path for path in _files_of(folder) if _has_a_name(path)]


def _files_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and _may_be_read(path))


def _may_be_read(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # whoever reads it is told why that cannot be


def _has_a_name(path: Path) -> bool:
    return storable(path.name) == path.name


def _check_size(risk: RiskFile, risk_percentage: float | None) -> None:
    if risk.sizing == "risk" and risk.size is None and risk_percentage is None:
        raise BadInput(
            "risk.size", "sizing risk needs it: give it, or the strategy's parameter risk_percentage"
        )
    if risk.sizing == "volatility" and risk.volatility_candles >= MOST_CANDLES:
        raise BadInput("risk.volatility_candles", f"must be below {MOST_CANDLES}, which is what a bot keeps")


def _require(field: str, value: str, collected: Sequence[str], variable: str) -> None:
    if value not in collected:
        raise BadInput(field, f"{value!r} is not collected ({', '.join(collected)}); add it to {variable}")
