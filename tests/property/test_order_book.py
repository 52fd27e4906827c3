"""A book kept from pushes is the exchange's own, whatever happens to the pushes on the way."""

from decimal import Decimal
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipelines.exchanges.okx.book import KEPT_LEVELS, MOST_LEVELS, Applied, OrderBook
from pipelines.exchanges.okx.frames import Book, Level

Side = dict[int, int]
"""price → size, as the exchange has them"""

sides = st.dictionaries(st.integers(1, 30), st.integers(1, 5), max_size=12)


class State(msgspec.Struct):
    """The exchange's book at one moment."""

    bids: Side
    asks: Side
    sequence: int


@st.composite
def histories(draw: st.DrawFn) -> list[State]:
    """States of a book with sequence numbers of their own; some repeat the levels, numbers may go down."""
    numbers = draw(st.lists(st.integers(1, 1_000), min_size=2, max_size=12, unique=True))
    states = [State(draw(sides), draw(sides), numbers[0])]
    for number in numbers[1:]:
        old = states[-1]
        same = draw(st.booleans())
        states.append(State(old.bids, old.asks, number) if same else State(draw(sides), draw(sides), number))
    return states


def levels(side: Side) -> list[Level]:
    return [Level(Decimal(price), Decimal(size)) for price, size in side.items()]


def snapshot(state: State) -> Book:
    return Book(levels(state.asks), levels(state.bids), 1, state.sequence, -1)


def increment(old: State, new: State) -> Book:
    """What the exchange sends when its book changes."""
    changed = [
        levels(after | dict.fromkeys(before.keys() - after.keys(), 0))
        for before, after in ((old.asks, new.asks), (old.bids, new.bids))
    ]
    return Book(*changed, 2, new.sequence, old.sequence)


def holds(book: OrderBook, state: State) -> bool:
    """Whether both have the same levels."""
    return all(
        {int(price): int(level.size) for price, level in ours.items()} == theirs
        for ours, theirs in ((book.bids, state.bids), (book.asks, state.asks))
    )


@given(histories())
def test_increments_on_a_snapshot_are_the_exchanges_book(states: list[State]):
    """After every increment the book has exactly the exchange's levels, also where its numbers go down."""
    book = OrderBook("A-B")
    assert book.snapshot(snapshot(states[0])) is Applied.CHANGED
    for old, new in pairwise(states):
        assert book.update(increment(old, new)) in {Applied.CHANGED, Applied.UNCHANGED}
        assert holds(book, new)
        assert book.sequence == new.sequence


@given(histories(), st.data())
def test_no_fault_of_the_line_makes_a_wrong_book(states: list[State], data: st.DataObject):
    """Pushes are lost, doubled and disordered; a break asks for a snapshot. A book that is ready is always
    the exchange's at that number, so a lost push never goes unnoticed."""
    pushes = [increment(old, new) for old, new in pairwise(states)]
    places = data.draw(
        st.permutations(range(len(pushes))).flatmap(
            lambda order: st.lists(st.sampled_from([*range(len(pushes)), *order[:3]]), max_size=20)
        )
    )
    by_sequence = {state.sequence: state for state in states}
    book = OrderBook("A-B")
    book.snapshot(snapshot(states[0]))
    for place in places:
        if book.update(pushes[place]) is Applied.BROKEN:
            assert not book.is_ready
            assert book.update(pushes[place]) is Applied.WAITING
            book.snapshot(snapshot(data.draw(st.sampled_from(states))))
        assert book.sequence is not None
        assert holds(book, by_sequence[book.sequence])


def book_of(bids: Side, asks: Side, sequence: int = 5) -> OrderBook:
    book = OrderBook("A-B")
    book.snapshot(snapshot(State(bids, asks, sequence)))
    return book


def test_a_heartbeat_changes_nothing():
    """prevSeqId == seqId and no levels: the book is what it was, a moment later."""
    book = book_of({1: 1}, {3: 1})
    assert book.update(Book([], [], 99, 5, 5)) is Applied.UNCHANGED
    assert (book.is_ready, book.timestamp_ms, book.sequence) == (True, 99, 5)


def test_the_maintenance_reset_goes_on_from_the_smaller_number():
    """seqId < prevSeqId once; the next push follows the smaller one."""
    book = book_of({1: 1}, {3: 1}, 500)
    assert book.update(Book([], levels({2: 2}), 2, 3, 500)) is Applied.CHANGED
    assert book.update(Book([], levels({1: 0}), 3, 4, 3)) is Applied.CHANGED
    assert holds(book, State({2: 2}, {3: 1}, 4))


def test_the_top_is_the_best_of_each_side():
    """Highest bids and lowest asks first, at most as many as asked for."""
    book = book_of({1: 10, 2: 20, 3: 30}, {7: 70, 5: 50})
    top = book.top(2)
    assert top.bids == [(Decimal(3), Decimal(30)), (Decimal(2), Decimal(20))]
    assert top.asks == [(Decimal(5), Decimal(50)), (Decimal(7), Decimal(70))]
    assert book.top(5).asks == top.asks


def test_a_level_that_is_no_number_breaks_the_book():
    """NaN, infinity, a price of 0 or below, a negative size: a new snapshot is asked for."""
    for price, size in (("NaN", "1"), ("sNaN", "1"), ("0", "1"), ("-1", "1"), ("1", "-1"), ("1", "Infinity")):
        book = book_of({1: 1}, {3: 1})
        assert book.update(Book([Level(Decimal(price), Decimal(size))], [], 2, 6, 5)) is Applied.BROKEN
        assert book.snapshot(Book([Level(Decimal(price), Decimal(size))], [], 2, 6, -1)) is Applied.BROKEN


def test_levels_do_not_grow_without_end():
    """Levels that fall out of the exchange's book without a word are cut off, the best ones stay."""
    book = book_of({1: 1}, {2: 1})
    for place in range(3_000):
        book.update(Book(levels({place + 2: 1}), levels({}), 2, 6 + place, 5 + place))
    assert KEPT_LEVELS <= len(book.asks) <= MOST_LEVELS
    assert book.top(1).asks == [(Decimal(2), Decimal(1))]
