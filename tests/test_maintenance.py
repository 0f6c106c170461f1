"""The schedule of maintenance and the reckoning over it: what is due, and what nobody can know."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from knowledge.datafile import CatalogueError
from knowledge.maintenance import (
    DRIVES,
    SHIPPED,
    STATES,
    Done,
    Due,
    Usage,
    due,
    load_schedule,
    month_of,
    month_text,
    read_done,
    read_km,
    read_month,
    read_schedule,
)
from knowledge.text import UserError
from tests.commands import yangche

TODAY = date(2026, 11, 25)
SCHEDULE = read_schedule(SHIPPED)


def month(text: str) -> int:
    return read_month(text)[0]


def standing(item: str, car: Usage, **done: str) -> Due:
    """How one item stands; done: item="55000@2026-02"."""
    records = dict(read_done(f"{name}={when}", SCHEDULE) for name, when in done.items())
    return next(one for one in due(SCHEDULE, car, records, TODAY) if one.item.id == item)


PASSAT = Usage("petrol", 62_000, month("2020-05"))


@pytest.mark.parametrize(
    ("done", "state", "km_left", "months_left"),
    [
        ("55000@2026-02", "later", 3_000, 3),
        ("53000@2026-02", "soon", 1_000, 3),
        ("55000@2025-12", "soon", 3_000, 1),
        ("55000@2025-11", "soon", 3_000, 0),
        ("55000@2025-10", "overdue", 3_000, -1),
        ("51999@2026-02", "overdue", -1, 3),
        ("55000", "unknown", 3_000, None),  # it may have been years ago
        ("@2026-06", "unknown", None, 7),
        ("@2025-06", "overdue", None, -5),
        ("40000", "overdue", -12_000, None),
    ],
)
def test_oil_by_what_was_noted(done, state, km_left, months_left):
    one = standing("oil", PASSAT, oil=done)
    assert (one.state, one.km_left, one.months_left) == (state, km_left, months_left)


@pytest.mark.parametrize(
    ("km", "since", "state"),
    [
        (62_000, "2020-05", "unknown"),  # nobody told
        (4_000, "2026-06", "later"),  # the first interval of a new car
        (9_500, "2026-06", "soon"),
        (12_000, "2026-06", "unknown"),
        (4_000, None, "unknown"),  # how old is it?
        (None, "2026-06", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_without_a_record_only_a_new_car_is_known(km, since, state):
    assert standing("oil", Usage("petrol", km, since and month(since))).state == state


def test_nothing_is_fine_without_a_record():
    """Whatever the drive: an old car of which nothing was told has nothing that is "later"."""
    for drive in DRIVES:
        found = due(SCHEDULE, Usage(drive, 300_000, month("2008-01")), {}, TODAY)
        assert {one.state for one in found} == {"unknown"}


def test_heavy_use_shortens():
    used = Usage("petrol", 62_000, month("2020-05"), heavy=True)
    assert standing("oil", used, oil="55000@2026-02").state == "overdue"


def test_drive_and_gearbox_choose_the_items():
    electric = {one.item.id for one in due(SCHEDULE, Usage("electric", 1_000), {}, TODAY)}
    assert "brake_fluid" in electric
    assert not electric & {"oil", "spark_plugs", "timing_belt", "fuel_filter", "gearbox_automatic", "air_filter"}
    assert "spark_plugs" not in {one.item.id for one in due(SCHEDULE, Usage("diesel", 1_000), {}, TODAY)}
    boxes = {"gearbox_automatic", "gearbox_dual_clutch", "gearbox_manual"}
    unsaid = {one.item.id for one in due(SCHEDULE, PASSAT, {}, TODAY)}
    manual = {one.item.id for one in due(SCHEDULE, Usage("petrol", 1, gearbox="manual"), {}, TODAY)}
    assert (unsaid & boxes, manual & boxes) == (boxes, {"gearbox_manual"})


def test_the_most_urgent_comes_first():
    done = {"oil": Done(50_000, month("2025-01")), "wipers": Done(None, month("2025-12")), "coolant": Done(60_000, 0)}
    done["brake_fluid"] = Done(60_000, month("2026-01"))
    found = due(SCHEDULE, PASSAT, done, TODAY)
    states = [STATES.index(one.state) for one in found]
    assert states == sorted(states)
    assert [one.item.id for one in found][:3] == ["coolant", "oil", "wipers"]  # years late, late, this month
    assert found[-1].item.id == "brake_fluid"


@pytest.mark.parametrize(
    ("since", "done", "state", "due_in", "station"),
    [
        ("2025-06", None, "later", "2027-06", False),
        ("2024-12", None, "soon", "2026-12", False),
        ("2020-05", None, "unknown", "2028-05", False),  # was it done in 2026?
        ("2020-05", "@2026-05", "later", "2028-05", False),
        ("2020-05", "@2026-02", "later", "2028-05", False),  # three months ahead counts
        ("2020-05", "@2026-01", "overdue", "2026-05", True),  # four do not: year six, with the car
        ("2020-05", "@2024-07", "overdue", "2026-05", True),
        ("2018-01", "@2026-01", "later", "2028-01", True),  # year ten
        ("2016-12", "@2024-12", "soon", "2026-12", True),
        ("2010-02", "@2026-03", "soon", "2027-02", True),  # yearly after ten years
        ("2005-02", "@2026-03", "soon", "2027-02", True),  # beyond fifteen as well
    ],
)
def test_the_periodic_inspection_goes_by_the_calendar(since, done, state, due_in, station):
    one = standing("inspection", Usage("electric", None, month(since)), **({"inspection": done} if done else {}))
    assert (one.state, month_text(one.month), one.station) == (state, due_in, station)


def test_a_year_alone_says_nothing_about_the_month_of_an_inspection():
    since, exact = read_month("2020")
    one = standing("inspection", Usage("petrol", 1, since, exact), inspection="@2026-05")
    assert (one.state, one.month) == ("unknown", None)


def test_the_law_that_the_reminder_rests_on_says_three_months(shared):
    text = (shared / "data" / "laws" / "机动车登记规定(2021-12-17).md").read_text("utf-8")
    assert "第五十四条 机动车所有人可以在机动车检验有效期满前三个月内" in text
    assert SCHEDULE["inspection"].ahead == 3
    assert "第五十四条" in SCHEDULE["inspection"].basis.zh


@pytest.mark.parametrize(
    "done", [{"oil": Done(70_000, None)}, {"oil": Done(None, month_of(TODAY) + 1)}], ids=["beyond", "future"]
)
def test_contradictions_are_told(done):
    with pytest.raises(UserError, match="oil"):
        due(SCHEDULE, PASSAT, done, TODAY)


def test_a_car_from_the_future_is_told():
    with pytest.raises(UserError, match="registration"):
        due(SCHEDULE, Usage("petrol", 1, month("2027-01")), {}, TODAY)


def test_the_shipped_schedule_is_whole():
    for item in SCHEDULE.values():
        if item.every and item.heavy:
            assert (item.heavy.km or 0) <= (item.every.km or 0), item.id
            assert (item.heavy.months or 0) <= (item.every.months or 0), item.id
    assert all(any(drive in item.drives for item in SCHEDULE.values()) for drive in DRIVES)


@pytest.mark.parametrize(
    ("text", "km"), [("62000", 62_000), ("62,000 km", 62_000), ("6.2万公里", 62_000), ("６２０００", 62_000), ("0", 0)]
)
def test_mileages_as_people_write_them(text, km):
    assert read_km(text) == km


@pytest.mark.parametrize("text", ["", "-5", "abc", "99999999", "6.2.1", "1e5"])
def test_what_is_no_mileage(text):
    with pytest.raises(UserError):
        read_km(text)


@pytest.mark.parametrize("text", ["2020-05", "2020-5", "2020.05", "2020/5", "2020年5月", "2020-05-17", "２０２０-05"])
def test_months_as_people_write_them(text):
    assert read_month(text) == (2020 * 12 + 4, True)


@pytest.mark.parametrize("text", ["", "20-05", "2020-13", "2020-00", "1776-07", "05-2020", "2020-05-17-1"])
def test_what_is_no_month(text):
    with pytest.raises(UserError):
        read_month(text)


@pytest.mark.parametrize("text", ["oil", "oil=", "nothing=5000", "oil=x", "oil=5000@2026", "=5000", "oil=@"])
def test_what_is_no_record(text):
    with pytest.raises(UserError):
        read_done(text, SCHEDULE)


# --- the file --------------------------------------------------------------------------------------------------------

ONE = """
oil:
  name: {zh: 机油, en: Oil}
  does: replace
  drives: [petrol]
  every: {km: 7000}
  basis: {zh: 惯例, en: practice}
  left: {zh: 坏, en: bad}
"""


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("does: replace", "does: replce"), "oil.*does"),
        (("km: 7000", "km: 7"), "oil.*every.km"),
        (("{km: 7000}", "{}"), "oil.*every"),
        (("drives: [petrol]", "drives: [steam]"), "oil.*drives.0"),
        (("drives: [petrol]", "drives: [petrol"), "line"),
        (("  every: {km: 7000}\n", ""), "oil"),
        (("  does", "  price: 5\n  does"), "oil.*price"),
        (("every: {km: 7000}", "calendar: [{months: 24, until: 48}]"), "oil"),
        (("every: {km: 7000}", "calendar: [{months: 1, until: 9}, {months: 1, until: 5}, {months: 1}]"), "oil"),
    ],
)
def test_a_broken_schedule_tells_the_place(tmp_path: Path, change, place):
    path = tmp_path / "maintenance.yaml"
    path.write_text(ONE, "utf-8")
    assert list(read_schedule(path)) == ["oil"]
    path.write_text(ONE.replace(*change), "utf-8")
    with pytest.raises(CatalogueError, match=place) as caught:
        read_schedule(path)
    assert "maintenance.yaml" in caught.value.text.zh


def test_the_shops_own_schedule_counts_as_soon_as_it_changes(tmp_path: Path):
    assert load_schedule(tmp_path) == SCHEDULE
    own = tmp_path / "maintenance.yaml"
    own.write_text(ONE, "utf-8")
    assert load_schedule(tmp_path)["oil"].every.km == 7_000
    own.write_text(ONE.replace("7000", "12000"), "utf-8")
    assert load_schedule(tmp_path)["oil"].every.km == 12_000


# --- the command line ------------------------------------------------------------------------------------------------


def test_commands(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    ran = yangche("maintenance", "due", "--drive", "petrol", "--km", "62000", "--since", "2020-05",
                  "--done", "oil=10000@2021-02", "--json", home=home)  # fmt: skip
    assert ran.status == 0, ran.err
    first = json.loads(ran.out.splitlines()[0])
    assert (first["item"], first["state"], first["last_km"], first["last_month"]) == (
        "oil",
        "overdue",
        10_000,
        "2021-02",
    )
    assert first["km_left"] == -42_000
    assert "late" in first["told"]

    own = home / "maintenance.yaml"
    assert yangche("maintenance", "template", own, home=home).status == 0
    assert yangche("maintenance", "template", own, home=home).status == 1
    assert f"{len(SCHEDULE)} items" in yangche("maintenance", "check", own, home=home).out
    own.write_text(ONE.replace("replace", "rplace"), "utf-8")
    broken = yangche("maintenance", "due", "--drive", "petrol", home=home)
    assert broken.status == 1
    assert "oil" in broken.err
    assert "does" in broken.err
    own.write_text(ONE, "utf-8")
    zh = yangche("maintenance", "due", "--drive", "petrol", "--km", "5000", home=home, lang="zh")
    assert zh.out.splitlines()[0] == "还早  机油 (oil)  还有 2,000 公里"
    assert yangche("maintenance", "due", "--drive", "steam", home=home).status == 1
