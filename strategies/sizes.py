"""The size of a position, where the strategy itself has something to say about it."""

from typing import TYPE_CHECKING, TypeVar

from config.exits import ExitsAndSizes

if TYPE_CHECKING:
    from strategies.base import Strategy

B = TypeVar("B", bound=ExitsAndSizes)


def with_sizes(risk: B, strategy: "Strategy") -> B:
    """A risk block with the sizing that the strategy wants (`Strategy.sizes`), unless the block has one."""
    if not strategy.sizes or risk.sizing != "all":
        return risk
    return type(risk).model_validate(risk.model_dump(exclude_unset=True) | dict(strategy.sizes))
