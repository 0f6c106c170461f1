"""What the trainer's commands found, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from app.texts import say
from knowledge.text import Lang
from training.served import SERVED, Served

if TYPE_CHECKING:
    from models.versions import Version
    from training.check import Report
    from training.promote import Comparison

SHOWN = 5  # places listed of one kind of finding; --json lists all
FIGURES = ("mAP50", "found_AP50", "recall", "precision", "critical_recall", "cluster_found", "ece")


def print_check(console: Console, report: Report, lang: Lang) -> None:
    """The findings, errors first, each kind with what to do about it; then the boxes by class."""
    for kind, findings in report.by_kind().items():
        level = findings[0].level
        style = "bold red" if level == "error" else "bold yellow"
        title = say(f"check.{kind}", lang)
        console.print(Line.assemble((f"{say(f'check.level_{level}', lang)} ", style), f"{title} ({len(findings)})"))
        console.print(Line(f"  {say(f'check.{kind}_do', lang)}", "dim"))
        for finding in findings[:SHOWN]:
            values = [finding.values[key] for key in ("names", "expected", "row", "size", "other", lang)
                      if key in finding.values]  # fmt: skip
            where = f"{finding.where}:{finding.line}" if finding.line else finding.where
            console.print(Line("    " + "  ".join(filter(None, (where, *values)))), soft_wrap=True)
        if len(findings) > SHOWN:
            console.print(Line("    " + say("check.more", lang, count=len(findings) - SHOWN)))
    splits = list(report.pictures)
    table = Table(say("check.class", lang), *splits, box=None)
    table.add_row(say("check.pictures", lang), *(str(report.pictures[split]) for split in splits))
    names = {name: None for counts in report.boxes.values() for name, _ in counts.most_common()}
    for name in names:
        table.add_row(name, *(str(report.boxes[split][name]) for split in splits))
    console.print(table)
    console.print(say("check.must_fix" if report.must_fix else "check.good", lang))


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _counted(figures: Mapping[str, Any], served: Served, lang: Lang) -> str:
    counts = {key: figures[key] for key in ("photos", "objects", "critical")}
    return say("evaluate.counted", lang, counted=served.counted.in_(lang), what=served.critical.in_(lang), **counts)


def print_figures(console: Console, figures: Mapping[str, Any], served: Served, lang: Lang) -> None:
    """The figures of a model that draws no boxes."""
    console.print(_counted(figures, served, lang))
    table = Table(show_header=False, box=None)
    for key in served.compared:
        table.add_row(key, _value(figures[key]), say(f"evaluate.{key}", lang))
    console.print(table)


def print_evaluation(console: Console, figures: Mapping[str, Any], served: Served, lang: Lang) -> None:
    """The figures, the classes with what they were taken for, and the reliability table."""
    console.print(_counted(figures, served, lang))
    table = Table(show_header=False, box=None)
    for key in FIGURES:
        table.add_row(key, _value(figures[key]), say(f"evaluate.{key}", lang))
    console.print(table)
    columns = ("objects", "right", "missed", "taken_for", "false_alarms")
    table = Table(say("check.class", lang), "AP50", *(say(f"evaluate.{key}", lang) for key in columns), box=None)
    for name, row in figures["confusion"].items():
        ap = figures["per_class"].get(name, (None, 0))[0]
        others = ", ".join(f"{other} {n}" for other, n in row["taken_for"].items())
        table.add_row(
            name,
            _value(ap),
            str(row["objects"]),
            str(row["right"]),
            str(row["missed"]),
            others,
            str(row["false_alarms"]),
        )
    console.print(table)
    table = Table(*(say(f"evaluate.{key}", lang) for key in ("confidence", "findings", "mean", "share")), box=None)
    for row in figures["reliability"]:
        span = f"{row['from']:.1f}-{row['from'] + 0.1:.1f}"
        table.add_row(span, str(row["findings"]), _value(row["confidence"]), _value(row["precision"]))
    console.print(table)


def print_comparison(console: Console, comparison: Comparison, lang: Lang) -> None:
    """Both models side by side."""
    new, present = comparison.new, comparison.present
    console.print(_counted(new, comparison.served, lang))
    table = Table("", say("models.present", lang), say("models.new", lang), "", box=None)
    for key in comparison.served.compared:
        table.add_row(key, _value(present[key]), _value(new[key]), say(f"evaluate.{key}", lang))
    console.print(table)
    for text in comparison.warnings:
        console.print(Line(text.in_(lang), "yellow"))


def print_versions(console: Console, versions: Sequence[Version], name: str, lang: Lang) -> None:
    """All versions; the one that is served is marked."""
    main = SERVED[name].main
    heads = (say(f"models.{key}", lang) for key in ("served", "version", "gate"))
    table = Table(*heads, main, "critical_recall", say("models.forced", lang), box=None)
    for version in versions:
        new = version.record.get("new", {})
        table.add_row(
            "*" if version.served else "",
            version.name,
            Line(str(version.record.get("gate", ""))),
            _value(new.get(main)),
            _value(new.get("critical_recall")),
            Line(version.record.get("forced") or ""),
        )
    console.print(table)
