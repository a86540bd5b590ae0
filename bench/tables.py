"""Tables and numbers of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """Print one table, readable as text and as Markdown."""
    cells = [list(columns), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(_padded(row, widths)) + " |" for row in cells]
    rule = "| " + " | ".join("-" * (w - 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + " |"
    print("\n".join([title, "", lines[0], rule, *lines[1:], ""]))
    if note:
        print(note)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _text(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def quantile(values: Sequence[float], q: float) -> float:
    """Return the value below which a share `q` of `values` lies, the nearest rank; nan without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; nan without values."""
    return sum(values) / len(values) if values else float("nan")
