"""The size of a position, where the strategy itself has something to say about it."""

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from config.exits import ExitsAndSizes
from core.errors import BadInput, TcpError

if TYPE_CHECKING:
    from strategies.base import Strategy

B = TypeVar("B", bound=ExitsAndSizes)


def sizes_of(strategy: "Strategy") -> dict[str, Any]:
    """What a strategy says of its sizes (`Strategy.sizes`); BadInput names the line where it raises."""
    try:
        return dict(strategy.sizes)
    except TcpError:
        raise
    except (Exception, SystemExit) as error:
        from strategies.catalogue import failure

        raise failure(type(strategy), error) from error


def with_sizes(risk: B, strategy: "Strategy") -> B:
    """A risk block with the sizing that the strategy wants (`Strategy.sizes`), unless the block has one.

    BadInput where the strategy raises, or wants what is no sizing.
    """
    if risk.sizing != "all":
        return risk
    sizes = sizes_of(strategy)
    if not sizes:
        return risk
    try:
        return type(risk).model_validate(risk.model_dump(exclude_unset=True) | sizes)
    except ValidationError as error:
        first = error.errors()[0]
        # A validator of several fields names the one at fault before a bar.
        named, bar, rest = first["msg"].removeprefix("Value error, ").partition("|")
        field = named if bar else ".".join(str(part) for part in first["loc"])
        raise BadInput(f"strategy {strategy.name}", f"sizes: {field}: {rest if bar else named}") from None
