"""What the trainer's page shows, as HTML: reports, the balance of the data set, jobs, comparisons, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.pages import fragments
from app.pages.box_editor import boxes_html, name_of
from app.records.correction import NOTHING, Kind, Marked, Report, classes_of
from app.records.corrections import Correction, Corrections, Decision
from app.records.dataset_export import FORMS, Model, Picture, balance, split
from app.texts import say
from knowledge.text import Lang, listed

if TYPE_CHECKING:
    from app.records.jobs import Job
    from models.versions import Version


def line(one: Correction, lang: Lang) -> str:
    """A report in one line of the list."""
    shown = [
        one.at[:16].replace("T", " "),
        say(f"wrong.kind_{one.report.kind}", lang),
        "; ".join(claims(one.report, lang)) or one.report.comment[:40],
        say("trainer.photo_word" if one.photo else "trainer.no_photo_word", lang),
    ]
    return " · ".join(filter(None, shown))


def claims(report: Report, lang: Lang) -> list[str]:
    """What the owner says is wrong, a phrase each."""
    told = []
    for wrong in report.wrong:
        name = name_of(wrong.label, lang)
        if wrong.color:
            color = say(f"color.{wrong.color}", lang) if wrong.color in _COLORS else wrong.color
            name = f"{name} ({color})"
        if wrong.really == NOTHING:
            told.append(say("trainer.wrong_nothing", lang, name=name))
        elif wrong.really:
            told.append(say("trainer.wrong_is", lang, name=name, really=name_of(wrong.really, lang)))
        else:
            told.append(say("trainer.wrong_unknown", lang, name=name))
    if report.missed:
        names = listed((name_of(box.label, lang) if box.label else "?" for box in report.missed), lang)
        told.append(say("trainer.missed", lang, count=len(report.missed), names=names))
    if report.kind_should:
        told.append(say("trainer.kind_is", lang, kind=say(f"wrong.kind_{report.kind_should}", lang)))
    if report.severity_should:
        told.append(say("trainer.severity_is", lang, severity=say(f"severity.{report.severity_should}", lang)))
    return told


_COLORS = frozenset({"red", "amber", "green", "blue", "white"})


def details(one: Correction, history: Sequence[Decision], lang: Lang) -> str:
    """Everything of a report besides its photo."""
    report = one.report
    said = "".join(f"<li>{escape(claim)}</li>" for claim in claims(report, lang))
    comment = f"<blockquote>{escape(report.comment)}</blockquote>" if report.comment else ""
    verdict = say(f"level.{report.verdict}", lang) if report.verdict in fragments.SIGNS else report.verdict
    told = " · ".join(filter(None, (say(f"wrong.kind_{report.kind}", lang), verdict, *_seen(report, lang))))
    models = listed((f"{name} {version}" for name, version in report.models.items()), lang) or "?"
    past = "".join(
        f"<li>{escape(' '.join((d.at[:16].replace('T', ' '), d.by, _state(d.state, lang), d.note)))}</li>"
        for d in history
    )
    decisions = f"<dt>{_t('decisions', lang)}</dt><dd><ul>{past}</ul></dd>" if past else ""
    no_photo = "" if one.photo else fragments.quiet(say("trainer.no_photo", lang))
    return (
        f'<dl class="yc-case"><dt>{_t("says", lang)}</dt><dd><ul>{said}</ul>{comment}</dd>'
        f"<dt>{_t('told', lang)}</dt><dd>{escape(told)}</dd><dt>{_t('models', lang)}</dt><dd>{escape(models)}</dd>"
        f"{decisions}</dl>{no_photo}"
    )


def _seen(report: Report, lang: Lang) -> list[str]:
    return [f"{seen.number} {name_of(seen.label, lang)} {seen.confidence:.0%}" for seen in report.seen if seen.number]


def _state(state: str, lang: Lang) -> str:
    return say(f"trainer.state_{state}", lang, count="").strip()


def proposed(one: Correction, kind: Kind) -> list[dict[str, Any]]:
    """The boxes that the editor begins with: the trainer's, else the models' with the owner's corrections."""
    if one.truth is not None:
        return [_box(box) for box in one.truth.boxes]
    really = {(wrong.label, wrong.color): wrong.really for wrong in one.report.wrong}
    known, boxes = classes_of(kind), []
    for seen in one.report.seen:
        label = really.get((seen.label, seen.color)) or seen.label
        boxes.append(_box(seen, seen.label if label == NOTHING else label, known))
    return boxes + [_box(box, box.label, known) for box in one.report.missed]


def _box(marked: Marked, label: str = "", known: Iterable[str] | None = None) -> dict[str, Any]:
    label = label or marked.label
    return {"label": label if known is None or label in known else "", "box": marked.box}


def editor(one: Correction, kind: Kind, lang: Lang) -> str:
    """The photo with its boxes; nothing where there is no photo."""
    if not one.photo:
        return ""
    up = ".." if lang == "zh" else "../.."  # see app.pages.login.head
    return boxes_html(
        "trainer", one.id, kind, lang, src=f"{up}/api/v1/corrections/{one.id}/photo", boxes=proposed(one, kind)
    )


def data_set(given: Sequence[Picture], classes: Sequence[str], model: Model, lang: Lang) -> str:
    """How many photos and boxes there are, class by class, and the links to them."""
    counts = balance(given)
    parts = split(given) if len(given) > 1 else {"train": [*given], "val": []}
    numbers = {"train": len(parts["train"]), "val": len(parts["val"]), "boxes": counts.total()}
    told = [f"<p>{escape(say('trainer.pictures', lang, count=len(given), **numbers))}</p>"]
    told.append(fragments.quiet(say("trainer.present_data", lang)))
    if counts:
        most = max(counts.values())
        rows = "".join(
            f"<tr><td>{escape(name_of(label, lang))}</td><td>{count}</td>"
            f'<td class="yc-share"><i style="width:{100 * count / most:.0f}%"></i></td></tr>'
            for label, count in counts.most_common()
        )
        heads = f"<tr><th>{_t('class', lang)}</th><th>{_t('boxes', lang)}</th><th></th></tr>"
        told.append(f'<table class="yc-table">{heads}{rows}</table>')
    lacking = [name_of(label, lang) for label in classes if label not in counts]
    if lacking:
        told.append(fragments.quiet(say("trainer.without", lang, names=listed(lacking, lang))))
    if len(given) < 2:
        told.append(fragments.quiet(say("trainer.too_few", lang, count=len(given))))
        return "".join(told)
    up = ".." if lang == "zh" else "../.."
    links = " ".join(
        f'<a class="yc-download" href="{up}/api/v1/corrections/export?model={model}&amp;format={form}" download>'
        f"{escape(say('trainer.download', lang))} ({form.upper()})</a>"
        for form in FORMS
    )
    told.append(f'<p class="yc-links">{links}</p>{fragments.quiet(say("trainer.opens", lang))}')
    return "".join(told)


def job(one: Job | None, lang: Lang) -> str:
    """How far a job is."""
    if one is None:
        return fragments.quiet(say("trainer.no_jobs", lang))
    state = say(f"trainer.job_{one.state}", lang)
    if one.state == "running":
        state = f"{state}: {say(f'trainer.step_{one.step}', lang)}"
    title = say(
        "trainer.job", lang, model=say(f"trainer.model_{one.model}", lang), at=one.at[:16].replace("T", " "),
        by=one.by, state=state,
    )  # fmt: skip
    bar = ""
    if one.state == "running":
        share = one.done_share
        bar = f'<progress class="yc-progress" value="{share:.3f}" max="1">{share:.0%}</progress>'
    elif one.kind == "promote" and one.result.get("promoted"):
        bar = fragments.good(say("trainer.promoted", lang, version=one.result["promoted"]))
    return f'<p role="status" data-state="{one.state}">{escape(title)}</p>{bar}'


def log(told: Iterable[str]) -> str:
    """What a job printed last."""
    return f'<pre class="yc-log">{escape(chr(10).join(told))}</pre>'


def comparison(result: Mapping[str, Any], lang: Lang) -> str:
    """Two models' figures side by side, and what speaks against the new one."""
    if "new" not in result:
        return ""
    present, new = result.get("present") or {}, result["new"]
    keys = [key for key in new if key not in ("photos", "objects", "critical")]
    rows = "".join(
        f"<tr><td>{escape(key)}<br><small>{escape(say(f'evaluate.{key}', lang))}</small></td>"
        f"<td>{_figure(present.get(key))}</td><td>{_figure(new.get(key))}</td></tr>"
        for key in keys
    )
    heads = "".join(f"<th>{_t(key, lang)}</th>" for key in ("figure", "present", "new"))
    against = [text[lang] for text in (*result.get("against", ()), *result.get("warnings", ()))]
    verdict = "".join(f'<p class="yc-warning">{escape(sentence)}</p>' for sentence in against)
    if not result.get("against"):
        verdict = fragments.good(say("trainer.in_favour", lang)) + verdict
    return (
        f'<h3>{_t("comparison", lang)}</h3><table class="yc-table yc-figures"><tr>{heads}</tr>{rows}</table>{verdict}'
    )


def _figure(value: Any) -> str:  # noqa: ANN401 - a figure of any kind
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value if value is not None else "-"))


def versions(known: Sequence[Version], lang: Lang) -> str:
    """All versions of a model, the one that is served marked."""
    rows = "".join(
        f"<tr><td>{escape(say('trainer.shipped', lang) if one.name == 'shipped' else one.name)}</td>"
        f"<td>{_t('served', lang) if one.served else ''}</td><td>{escape(str(one.record.get('at', ''))[:16])}</td>"
        f"<td>{escape(say('trainer.forced', lang, reason=one.record['forced'])) if one.record.get('forced') else ''}"
        "</td></tr>"
        for one in reversed(known)
    )
    return f'<table class="yc-table"><caption>{_t("versions", lang)}</caption>{rows}</table>'


def choices(corrections: Corrections, state: Any, lang: Lang, limit: int) -> list[tuple[str, str]]:  # noqa: ANN401
    """The reports of a state, as choices of a list."""
    return [(line(one, lang), one.id) for one in corrections.reports(state, limit)]


def _t(key: str, lang: Lang) -> str:
    return escape(say(f"trainer.{key}", lang))
