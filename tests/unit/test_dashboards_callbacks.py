"""Answers of callbacks: components are written once, everything else is left to Dash."""

import json

import orjson
import pytest
from dash import Dash, Input, Output, dcc, html, no_update
from dash._utils import to_json

from dashboards.callbacks import on, packed
from dashboards.components import moment, panel, segment

PAGE = html.Div(
    [
        panel(dcc.Graph(figure={"data": [{"y": [1.5, None]}]}), title="Two"),
        segment("Day", "/x?by=day", True),
        moment(5),
        "text",
    ],
    **{"aria-label": "a"},
)


@pytest.mark.parametrize("value", [PAGE, [PAGE, "text", None], [html.B("x")]])
def test_components_become_what_dash_makes_of_them(value):
    """The same document, wildcard attributes and nested figures included."""
    written = orjson.dumps({"children": packed(value)})
    assert json.loads(written) == json.loads(to_json({"children": value}))


@pytest.mark.parametrize("value", [None, "text", 1.5, no_update, [None, "error"], [{"id": "1"}]])
def test_what_is_no_component_stays_as_it_is(value):
    """Dash still sees what it must see: nothing to update, a list of errors a field each."""
    assert packed(value) is value


def test_what_no_page_can_show_is_said():
    """Not written as something else."""
    with pytest.raises(TypeError):
        packed(html.Div(object()))


async def test_a_callback_is_registered_packed_and_stays_callable():
    """The function itself returns components; Dash is answered with their JSON."""
    dash = Dash("test")

    @on(dash, Output("a", "children"), Output("b", "data"), Input("c", "value"))
    async def both(value):
        return html.B(value), no_update

    assert isinstance((await both("x"))[0], html.B)
    registered = next(iter(dash.callback_map.values()))
    outputs = [{"id": "a", "property": "children"}, {"id": "b", "property": "data"}]
    answer = await registered["callback"]("x", outputs_list=outputs, outputs_grouping=outputs)
    assert json.loads(answer)["response"]["a"]["children"]["props"] == {"children": "x"}
    assert "b" not in json.loads(answer)["response"]
