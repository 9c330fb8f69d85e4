"""The ledger of measured claims: a card in a notebook, a record in its output, one list of all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ftlib import artefact, evaluate, plot
from ftlib.settings import WorkbookError

CLAIM_MIME = "application/vnd.ftlib.claim+json"
VERDICTS = {
    "holds": "#009E73",
    "partly": "#E69F00",
    "does not hold": "#D55E00",
    "not at this size": plot.GREY,
}
ROW = re.compile(r"[45]-\d{3}|[0-36-9AR]-\d{2}|d\d{1,2}")


def record(
    row_id: str, says: str, measured: object, *, verdict: str, where: str, interval: object = None
) -> None:
    """Ends an experiment: shows what the guide says beside what was measured, and stores both in the output.

    row_id: the guide's row ("4-022") or its correction ("d17"). measured: a number, or a text with its unit.
    interval: (low, high), or an interval with mean, low and high. verdict: one of VERDICTS.
    where: what the number stands for, such as "4.01, tiny tier, 5 seeds".
    """
    if not ROW.fullmatch(row_id):
        raise WorkbookError(f"claim {row_id!r}: a row looks like 4-022 or 1-64, a correction like d17")
    if verdict not in VERDICTS:
        raise WorkbookError(f"claim {row_id}: verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    claim = {
        "row": row_id,
        "says": says,
        "measured": measured,
        "interval": _bounds(interval),
        "verdict": verdict,
        "where": where,
    }
    rows = {"the guide says": says, "measured": measurement(claim), "where": where}
    plot.card(f"Claim {row_id}: {verdict}", rows, VERDICTS[verdict], {CLAIM_MIME: claim}).display()


def compared(
    row_id: str, says: str, found: Mapping[str, evaluate.Comparison], wanted: Collection[str], where: str
) -> None:
    """Records a claim that was compared in several places, such as tasks: name -> comparison.

    It holds where the verdict of each is one of `wanted`, does not where no verdict is, nor undecided; else
    it holds partly.
    """
    verdicts = [one.verdict for one in found.values()]
    held = sum(verdict in wanted for verdict in verdicts)
    open_ones = "undecided" in verdicts
    verdict = "holds" if held == len(verdicts) else "partly" if held or open_ones else "does not hold"
    told = "; ".join(f"{name}: {one.verdict}, {plot.words(one.difference)}" for name, one in found.items())
    record(row_id, says, told, verdict=verdict, where=where)


def collect(notebooks: Iterable[str | Path]) -> list[dict]:
    """The claims recorded in executed notebooks, in order; each says the name of its notebook."""
    found = []
    for path in map(Path, notebooks):
        for output in artefact.outputs(artefact.cells(path)):
            if claim := output.get(CLAIM_MIME):
                found.append({**claim, "notebook": path.name})
    return found


def summary(claims: Sequence[dict]) -> plot.Shown:
    """The ledger as a small table, sorted by the guide's rows."""
    rows = sorted(claims, key=lambda claim: claim["row"])
    return plot.table(
        [
            {
                "row": claim["row"],
                "verdict": claim["verdict"],
                "measured": measurement(claim),
                "the guide says": claim["says"],
                "where": claim["where"],
            }
            for claim in rows
        ]
    )


def _bounds(interval: object) -> list[float] | None:
    if interval is None:
        return None
    ends = plot.interval(interval)
    return [ends["low"], ends["high"]] if ends else list(interval)


def measurement(claim: dict) -> str:
    """The measured value, with its interval: `0.9 [0.85, 0.95]`."""
    value, bounds = claim["measured"], claim["interval"]
    return plot.words(value) + (f" [{plot.words(bounds[0])}, {plot.words(bounds[1])}]" if bounds else "")
