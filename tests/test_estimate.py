"""The work estimate: what a photo allows to say, a shop's own table, and prices only from there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.catalogue import FOLDER
from knowledge.datafile import CatalogueError
from knowledge.estimate import ALL, NOTES, Estimate, Rates, estimate, load_operations, load_rates, template
from knowledge.playbook import LABELS, SEVERITIES
from knowledge.text import LANGS, UserError

BOOK = load_operations()
CHINESE = re.compile(r"[一-鿿]")
HEADER = "operation,hours_low,hours_high,rate_per_hour,paint_material_per_panel,currency\n"
OTHERS = [label for label in LABELS if label not in BOOK.damages]


def table(folder: Path, rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = folder / "rates.csv"
    path.write_bytes((header + rows).encode(encoding))
    return path


def said(result: Estimate) -> set[str]:
    """The notes by name."""
    patterns = {name: re.escape(BOOK.notes[name].zh).replace(r"\{source\}", ".+") for name in NOTES}
    return {name for name in NOTES if any(re.fullmatch(patterns[name], note.zh) for note in result.notes)}


# --- hours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[], OTHERS, ["nonsense"]])
@pytest.mark.parametrize("severity", [None, *SEVERITIES])
def test_no_damage_is_an_empty_estimate_and_no_all_clear(labels, severity) -> None:
    result = estimate(labels, severity)
    assert (result.items, result.hours, result.price, result.currency) == ((), None, None, None)
    assert said(result) == ({"nothing", "severe"} if severity == "severe" else {"nothing"})
    assert result.holds is (severity != "severe")


@pytest.mark.parametrize(
    ("labels", "severity", "choices", "hours"),
    [
        (["scratch"], "minor", "polish spot_paint repaint_panel", (0.3, 7)),
        (["scratch"] * 3, "minor", "polish spot_paint repaint_panel", (0.3, 21)),
        (["scratch"] * 50, None, "polish spot_paint repaint_panel", (0.3, 42)),  # one photo shows so many panels
        (["dent"], "minor", "paintless beat_and_paint", (0.5, 12)),
        (["dent"], None, "paintless beat_and_paint replace_panel", (0.5, 30)),
        (["dent", "fire", "dent"], "severe", "paintless beat_and_paint replace_panel", (0.5, 60)),
        (["broken_part"], "minor", "mend_plastic replace_part replace_and_paint", (0.3, 10)),  # with the radar
        (["broken_glass"], "minor", "mend_chip replace_glass", (0.5, 6)),  # with the camera
        (["broken_lamp"], "minor", "replace_small_lamp replace_headlamp", (0.3, 4)),
    ],
)
def test_one_kind_of_damage(labels, severity, choices, hours) -> None:
    (item,) = estimate(labels, severity).items
    assert item.label == labels[0]
    assert item.count == labels.count(labels[0])
    assert [work.id for work in item.choices] == choices.split()
    assert item.hours == hours
    assert all(work.basis == BOOK.notes["usual"] for work in item.choices)


@pytest.mark.parametrize(
    ("labels", "severity", "notes"),
    [
        ("dent", "minor", ""),
        ("dent", "severe", "severe"),
        ("dent", None, "unknown"),
        ("dent dent", "minor", "several"),
        ("dent scratch", None, "unknown several"),
    ],
)
def test_says_how_far_it_goes(labels, severity, notes) -> None:
    result = estimate(labels.split(), severity)
    assert said(result) == {"size", "no_prices", *notes.split()}
    assert result.holds is (severity != "severe")
    if severity in (None, "severe"):
        assert "照片上看得到" in result.notes[0].zh
        assert "only what is seen" in result.notes[0].en
    assert severity != "severe" or "on a bench" in result.notes[0].en


def test_what_may_lie_behind_grows_with_severity_and_unknown_hides_nothing() -> None:
    for label, kind in BOOK.damages.items():
        behind = {severity: estimate([label], severity).items[0].behind for severity in (None, *SEVERITIES)}
        assert behind["minor"] == kind.behind
        assert behind[None] == behind["moderate"] == behind["severe"] == kind.behind + kind.behind_more
    dent = " ".join(text.en for text in estimate(["dent"]).items[0].behind)
    assert all(word in dent for word in ("Brackets", "sensors", "Frame"))


# --- a shop's own table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("lang", LANGS)
def test_filled_template_is_read_and_priced(tmp_path, encoding, separator, lang) -> None:
    lines = template(lang).replace(",", separator).splitlines()
    lines[1] = BOOK.notes[ALL].in_(lang) + separator.join(["", "", "", "100", "300", "cny"])
    path = table(tmp_path, "\r\n".join(lines), "", encoding)
    rates = load_rates(path, "老王钣喷")
    assert (rates.problems, rates.currency, rates.source) == ([], "CNY", "老王钣喷 (rates.csv)")
    result = estimate(["scratch", "scratch"], "minor", rates)
    assert [work.price for work in result.items[0].choices] == [(30, 150), (400, 600), (600, 1000)]
    assert result.price == (30, 2000)
    assert result.currency == "CNY"
    assert said(result) == {"size", "several", "prices"}
    assert any("老王钣喷 (rates.csv)" in note.en and "without parts" in note.en for note in result.notes)


def test_rows_of_their_own_override_hours_and_rates(tmp_path) -> None:
    rows = 'every,,,100,200,CNY\nPOLISH,"0,5",1,,,\n整面喷漆,４,5,150,0,\nReplace the glass,2,2.5,,80,cny\n'
    rates = load_rates(table(tmp_path, rows))
    assert rates.problems == []
    scratch, glass = estimate(["scratch", "broken_glass"], None, rates).items
    assert [work.hours for work in scratch.choices] == [(0.5, 1), (1, 3), (4, 5)]
    assert [work.price for work in scratch.choices] == [(50, 100), (300, 500), (600, 750)]
    assert [work.basis.en for work in scratch.choices] == [
        "Hours by rates.csv.", BOOK.notes["usual"].en, "Hours by rates.csv."
    ]  # fmt: skip
    assert glass.choices[1].fitted == (BOOK.operations["calibrate_camera"].name,)
    assert glass.choices[1].price == (2 * 100 + 80, 2.5 * 100 + 80 + 2 * 100)  # the camera by the shop's common rate
    assert glass.choices[1].basis.en.startswith("Hours partly by rates.csv")


@pytest.mark.parametrize(
    ("rows", "priced"),
    [
        ("polish,,,100,,CNY\n", ["polish"]),  # the other operations have no rate
        ("every,,,100,,CNY\n", ["polish"]),  # paint is missing
        ("every,,,100,5,CNY\n", ["polish", "spot_paint", "repaint_panel"]),
        ("every,,,100,5,\n", []),  # no currency, which is a problem of its own
        ("polish,1,2,,,\n", []),
        ("every,,,,50,CNY\n", []),
    ],
)
def test_no_price_where_a_figure_is_missing(tmp_path, rows, priced) -> None:
    rates = load_rates(table(tmp_path, rows))
    result = estimate(["scratch"], "minor", rates)
    (item,) = result.items
    assert [work.id for work in item.choices if work.price] == priced
    assert (item.price is not None) is (result.price is not None) is (len(priced) == 3)
    assert result.currency == ("CNY" if priced else None)
    assert ("no_figure" in said(result)) is (len(priced) < 3)
    assert [problem.en for problem in rates.problems] == (
        [BOOK.notes["no_currency"].filled(file="rates.csv").en] if rows.endswith("5,\n") else []
    )


@pytest.mark.parametrize(
    ("row", "note", "cell"),
    [
        ("polsh,1,2,100,,CNY", "operation", "polsh"),
        (",1,2,100,,CNY", "operation", ""),
        ("repaint_panel,1,2,100,,CNY", "twice", "repaint_panel"),
        ("polish,1,2", "cells", ""),
        ("polish,1,2,100,,CNY,9", "cells", ""),
        ('"polish,1,2,100,,CNY', "cells", ""),
        ("polish,one,2,100,,CNY", "number", "one"),
        ("polish,-1,2,100,,CNY", "number", "-1"),
        ('polish,1,2,"1,200",,CNY', "number", "1,200"),
        ("polish,1,2,¥100,,CNY", "number", "¥100"),
        ("polish,1,2,0,,CNY", "number", "0"),
        ("polish,2,1,100,,CNY", "hours", "2–1"),
        ("polish,,2,100,,CNY", "hours", "0–2"),
        ("polish,1,900,100,,CNY", "hours", "1–900"),
        ("every,1,2,100,,CNY", "hours", "1–2"),
        ("polish,1,2,100,,EUR", "currency", "EUR"),
        ("polish,1,2,100,,12", "currency", "12"),
    ],
)
def test_broken_row_is_one_sentence_and_the_others_are_used(tmp_path, row, note, cell) -> None:
    rates = load_rates(table(tmp_path, f"repaint_panel,4,5,150,200,CNY\n,,,,,\n{row}\nspot_paint,1,2,90,80,CNY\n"))
    assert rates.problems == [BOOK.notes[note].filled(file="rates.csv", line=4, cell=cell)]
    assert rates.problems[0].zh.startswith("rates.csv 第 4 行")
    assert set(rates.figures) == {"repaint_panel", "spot_paint"}
    polish, spot, panel = estimate(["scratch"], None, rates).items[0].choices
    assert (polish.hours, polish.price) == (BOOK.operations["polish"].hours, None)
    assert (spot.price, panel.price) == ((170, 260), (800, 950))


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xef\xbb\xbf \r\n", "　\n".encode(), b"PK\x03\x04\x14\x00\xff\xd8", b"name,price\npolish,3\n",
     b"operation,hours_low,hours_low\n", b"\x00\x00\x00"],
)  # fmt: skip
def test_unusable_file_is_one_sentence(tmp_path, content) -> None:
    path = tmp_path / "rates.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_rates(path)
    for lang in LANGS:
        assert "rates.csv" in caught.value.text.in_(lang)
        assert "\n" not in caught.value.text.in_(lang)


# --- properties -----------------------------------------------------------------------------------------------------

labels_seen = st.lists(st.sampled_from([*LABELS, "other"]), max_size=12)
severities = st.sampled_from([None, *SEVERITIES])
money = st.floats(0.01, 9999, allow_nan=False)
hours_given = st.lists(st.integers(1, 20000).map(lambda n: n / 100), min_size=2, max_size=2).map(sorted)


@st.composite
def shop_rates(draw: st.DrawFn) -> Rates:
    figures: dict[str, dict[str, float]] = {}
    for key in draw(st.lists(st.sampled_from([ALL, *BOOK.operations]), unique=True)):
        figures[key] = draw(st.fixed_dictionaries({}, optional={"rate": money, "paint": money}))
        if key != ALL and draw(st.booleans()):
            figures[key] |= dict(zip(("low", "high"), draw(hours_given), strict=True))
    return Rates("a shop", draw(st.sampled_from([None, "CNY"])), figures)


@settings(max_examples=200, deadline=None)
@given(labels_seen, severities, st.none() | shop_rates())
def test_ranges_are_sound_and_prices_come_from_rates_alone(labels, severity, rates) -> None:
    result = estimate(labels, severity, rates)
    lines = [*result.items, *(work for item in result.items for work in item.choices)]
    for span in (result, *lines):
        assert span.hours is None or 0 < span.hours.low <= span.hours.high
        assert span.price is None or 0 <= span.price.low <= span.price.high
    assert {i.label: i.count for i in result.items} == {k: labels.count(k) for k in BOOK.damages if k in labels}
    assert (result.hours is None) is (not result.items)
    for part in ("hours", "price"):
        ranges = [getattr(item, part) for item in result.items]
        if total := getattr(result, part):
            assert total == pytest.approx((sum(r.low for r in ranges), sum(r.high for r in ranges)), abs=0.01)
    assert (result.currency is not None) is any(line.price for line in lines)
    if rates is None or rates.currency is None or not any("rate" in row for row in rates.figures.values()):
        assert not any(line.price for line in (result, *lines))


@settings(max_examples=100, deadline=None)
@given(labels_seen.filter(lambda labels: set(labels) & set(BOOK.damages)), severities, st.none() | shop_rates())
def test_unknown_severity_and_more_boxes_only_widen(labels, severity, rates) -> None:
    one, unknown = estimate(labels, severity, rates).hours, estimate(labels, None, rates).hours
    more = estimate([*labels, next(label for label in labels if label in BOOK.damages)], severity, rates).hours
    assert unknown.low <= one.low <= one.high <= unknown.high
    assert more.low == one.low
    assert more.high >= one.high


# --- the data -------------------------------------------------------------------------------------------------------


def test_every_text_is_in_both_languages_short_and_promises_nothing() -> None:
    content = (FOLDER / "operations.yaml").read_text(encoding="utf-8")
    pairs = re.findall(r"\{zh: (.+?), en: (.+)\}$", content, re.MULTILINE)
    assert len(pairs) == content.count("zh: ") > 100
    for zh, en in pairs:
        assert CHINESE.search(zh), zh
        assert not CHINESE.search(en), en
        assert (len(zh) <= 80, len(en) <= 240) == (True, True), zh
        assert not re.search(r"保修|质保|保证|担保|guarant|warrant|[¥$€£]|\d元", zh + en, re.IGNORECASE)


def test_every_operation_is_used_and_named_once() -> None:
    used = {key for kind in BOOK.damages.values() for key in kind.operations}
    assert used | {key for operation in BOOK.operations.values() for key in operation.fitted} == set(BOOK.operations)
    names = {ALL: BOOK.notes[ALL], **{key: operation.name for key, operation in BOOK.operations.items()}}
    words = [{key, name.zh.casefold(), name.en.casefold()} for key, name in names.items()]
    assert len(set().union(*words)) == sum(map(len, words))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("hours: [0.3, 1.5]", "hours: [1.5, 0.3]", "operations.polish.hours"),
        ("hours: [0.3, 1.5]", "hours: [0, .inf]", "operations.polish.hours"),
        ("hours: [0.3, 1.5]", "hours: 1", "operations.polish.hours"),
        ("{zh: 抛光, en: Polish}", "{zh: 抛光}", "operations.polish.name.en"),
        ("{zh: 抛光, en: Polish}", "{zh: 抛光, en: Polish}\n    price: 100", "operations.polish.price"),
        ("fitted: [code_lamp]", "fitted: [lamp]", "operations.replace_headlamp.fitted"),
        ("operations: [polish, ", "operations: [wash, ", "damages.scratch.operations"),
        ("[paintless, beat_and_paint, ", "[", "damages.dent.operations"),
        ("  broken_lamp:", "  broken_wheel:", "damages.broken_wheel"),
        ("  severe: {", "  grave: {", "severe"),
        ("operations:\n", "operations: [\n", "line"),
    ],
)
def test_broken_data_names_file_entry_and_field(tmp_path, old, new, named) -> None:
    shipped = (FOLDER / "operations.yaml").read_text(encoding="utf-8")
    assert old in shipped
    path = tmp_path / "work.yaml"
    path.write_text(shipped.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        load_operations(path)
    assert "work.yaml" in caught.value.text.en
    assert named in caught.value.text.en
