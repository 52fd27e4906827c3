"""The report of a walk-forward: its windows, how stable they are, and the record of all tests."""

from html import escape

from pipelines.reports.backtest import body
from pipelines.reports.page import caveats, page, paragraph, section, table
from pipelines.reports.wording import shown, titled
from pipelines.validation.caveats import caveats as said_of
from pipelines.walk_forward.result import WalkForwardResult

HALF = 0.5
LOW = 0.3


def walk_forward_report(result: WalkForwardResult) -> str:
    """The whole page."""
    document = result.to_document()
    title = f"Walk-forward of {document['strategy']} on {document['symbol']} {document['timeframe']}"
    walk = ", ".join(f"{name} {value}" for name, value in result.walk.document().items())
    begins = [int(walked.window.test.start.timestamp() * 1000) for walked in result.windows]
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            paragraph(f"tests from {document['from']} to {document['to']}, {document['candles']:,} candles"),
            paragraph(
                f"{walk}; best {titled(result.sort)} of {result.combinations:,} combinations in each window"
            ),
            caveats([*verdict(result), *said_of(document)]),
            section("Windows", windows(result)),
            section("Parameters", parameters(result)),
            *body(result.record, document, begins),
        ],
    )


def verdict(result: WalkForwardResult) -> list[str]:
    """What the windows say together, in sentences."""
    said = []
    if result.efficiency is None:
        said.append("The trainings did not grow: there was nothing for the tests to keep.")
    else:
        kept = f"Efficiency {result.efficiency:.0%}: the tests "
        if result.efficiency <= 0:
            said.append(kept + "lost where the trainings gained.")
        else:
            little = ", so little of it was real" if result.efficiency < LOW else ""
            said.append(f"{kept}grew at that share of the trainings' rate{little}.")
    if result.overfitting is not None:
        share = (
            f"In {result.overfitting:.0%} of the windows the training's best was no better than the middle"
        )
        chance = ": choosing by chance does as well" if result.overfitting >= HALF else ""
        said.append(f"{share} in the test{chance}.")
    if len(result.windows) < 5:
        said.append(f"{len(result.windows)} windows: too few to say anything of stability.")
    return said


def windows(result: WalkForwardResult) -> str:
    """A row a window."""
    sort, names = result.sort, list(result.stability)
    header = ["Test", *names, f"{titled(sort)}, training", f"{titled(sort)}, test"]
    header += ["Return, training", "Return, test", "Trades", "Better than"]
    rows = [
        [
            f"{walked.window.test.start:%Y-%m-%d %H:%M}",
            *(str(walked.parameters[name]) for name in names),
            shown(sort, walked.score),
            shown(sort, walked.test[sort]),
            shown("total_return", walked.train["total_return"]),
            shown("total_return", walked.test["total_return"]),
            shown("trades", walked.test["trades"]),
            "—" if walked.test_rank is None else f"{walked.test_rank:.0%}",
        ]
        for walked in result.windows
    ]
    signed = frozenset((len(header) - 4, len(header) - 3))
    return table(header, rows, signed)


def parameters(result: WalkForwardResult) -> str:
    """How much the choice moved from window to window."""
    rows = [
        [
            name,
            str(found["most_common"]),
            f"{found['share']:.0%}",
            f"{found['changes']:.0%}",
            "—" if found["variation"] is None else f"{found['variation']:.0%}",
        ]
        for name, found in result.stability.items()
    ]
    return table(("", "Most often", "in", "Changed", "Variation"), rows)
