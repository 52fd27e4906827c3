"""The states of a bot and the steps between them."""

import pytest

from core.bot_states import Actual, Desired, IllegalMove, Step, next_step

LEGAL = {
    "stopped": "starting",
    "starting": "running paused stopped crashed",
    "running": "paused stopped crashed",
    "paused": "running stopped crashed",
    "crashed": "starting stopped error",
    "error": "starting stopped",
}


def test_only_the_moves_of_the_diagram_are_allowed():
    """All 36 pairs: a legal move or staying gives the new state, any other is refused."""
    for current in Actual:
        for to in Actual:
            if to is current or to.value in LEGAL[current].split():
                assert current.move(to) is to
            else:
                with pytest.raises(IllegalMove, match=f"from {current} to {to}"):
                    current.move(to)


@pytest.mark.parametrize("desired", list(Desired))
@pytest.mark.parametrize("actual", list(Actual))
def test_steps_lead_to_the_desired_state_and_end_there(desired, actual):
    """From any state the steps reach the desired one in at most two, and then there is nothing to do."""
    after = {
        Step.START: Actual.STARTING,
        Step.STOP: Actual.STOPPED,
        Step.SETTLE_STOPPED: Actual.STOPPED,
        Step.SETTLE_ERROR: Actual.ERROR,
    }
    for _ in range(2):
        step = next_step(desired, actual)
        if step is Step.NONE:
            break
        actual = actual.move(after[step])
    assert next_step(desired, actual) is Step.NONE
    assert actual.has_process == (desired in {Desired.ACTIVE, Desired.PAUSED})
