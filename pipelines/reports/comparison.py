"""The report of a comparison: runs side by side, and whether their differences mean anything."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.reports.charts import Line, lines
from pipelines.reports.page import caveats, page, paragraph, section, table
from pipelines.reports.wording import shown, titled
from pipelines.validation.compare import Record

SIGNIFICANT = 0.05
KINDS = ("one", "two", "three", "four")


def comparison_report(records: Sequence[Record], comparison: dict[str, Any]) -> str:
    """The whole page."""
    documents = [record.document for record in records]
    names = list(dict.fromkeys(name for document in documents for name in document["metrics"]))
    labels = [_label(document) for document in documents]
    rows = [[titled(name), *(shown(name, d["metrics"].get(name)) for d in documents)] for name in names]
    notes, said = comparison["notes"], findings(documents, comparison)
    body = [
        "<h1>Runs side by side</h1>",
        paragraph(", ".join(labels)),
        caveats(notes),
        section("Findings", *(paragraph(text, soft=False) for text in said if text not in notes)),
        section("Equity", chart(records)),
        section("Differences", _differences(documents, comparison)),
        section("Metrics", table(["", *labels], rows)),
        section(
            "Parameters",
            table(["", "Parameters"], [[n, _given(d)] for n, d in zip(labels, documents, strict=True)]),
        ),
        section("Method", paragraph(_method(comparison))),
    ]
    return page("Runs side by side", body)


def findings(documents: Sequence[dict[str, Any]], comparison: dict[str, Any]) -> list[str]:
    """What the comparison says, in sentences."""
    named = _names(documents)
    against = named.get(comparison["benchmark"], "buy and hold")
    said = []
    for row in comparison["differences"]:
        if row["p_value"] is None:
            said.append(f"{named[row['id']]} never differs from {against}.")
            continue
        judged = "significant" if row["p_corrected"] <= SIGNIFICANT else "not significant"
        said.append(
            f"{named[row['id']]} against {against}: {row['difference']:+.1%} a year "
            f"({row['low']:+.1%} … {row['high']:+.1%}), {_p(row['p_value'])}, {_p(row['p_corrected'])} "
            f"corrected for {len(comparison['differences'])} compared: {judged}."
        )
    best = comparison["superior"]
    if best is not None:
        found = "beats" if best["p_value"] <= SIGNIFICANT else "does not convincingly beat"
        said.append(
            f"The best of them, {named[best['best']]}, {found} {against}: {_p(best['p_value'])} "
            f"(bounds {best['lower']:.3f} … {best['upper']:.3f}) in the test for superior ability."
        )
    return [*said, *comparison["notes"]]


def chart(records: Sequence[Record]) -> str:
    """Growth of 1 in each run that has a curve, at most four; nothing without any."""
    known = [record for record in records if record.equity is not None][: len(KINDS)]
    if not known:
        return ""
    begin = max(int(r.equity["timestamp"].dt.epoch("ms")[0]) for r in known)  # type: ignore[index]
    end = min(int(r.equity["timestamp"].dt.epoch("ms")[-1]) for r in known)  # type: ignore[index]
    if begin >= end:
        return ""
    times = np.linspace(begin, end, 800).astype(np.int64)
    drawn = []
    for record, kind in zip(known, KINDS, strict=False):
        assert record.equity is not None
        at = record.equity["timestamp"].dt.epoch("ms").to_numpy()
        values = record.equity["equity"].to_numpy()[np.searchsorted(at, times, side="right") - 1]
        drawn.append(Line(_label(record.document), values / values[0], kind))
    return lines("Growth of 1", times, drawn)


def _differences(documents: Sequence[dict[str, Any]], comparison: dict[str, Any]) -> str:
    if not comparison["differences"]:
        return ""
    named = _names(documents)
    rows = [
        [named[row["id"]]]
        + ["—" if row[name] is None else f"{row[name]:+.1%}" for name in ("difference", "low", "high")]
        + ["—" if row[name] is None else _p(row[name]) for name in ("p_value", "p_corrected")]
        for row in comparison["differences"]
    ]
    header = ("", "A year", "From", "To", "p-value", "Corrected")
    return table(header, rows, frozenset((1, 2, 3)))


def _method(comparison: dict[str, Any]) -> str:
    return (
        f"Mean differences of {comparison['observations']:,} common {comparison['period']} returns, as a sum "
        f"over a year, with {comparison['confidence']:.0%} intervals of the stationary bootstrap "
        f"({comparison['resamples']:,} resamples, paired); p-values two-sided, corrected by Holm; superior "
        "ability by Hansen's test, its lower and upper bounds in brackets."
    )


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"


def _names(documents: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {document["id"]: _label(document) for document in documents}


def _label(document: dict[str, Any]) -> str:
    return f"{document['strategy']} {document['id']}"


def _given(document: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in document["params"].items()) or "none"
