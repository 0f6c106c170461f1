"""Where cars are kept for their owners: found by a token that nobody can guess, deleted for good."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from app.records import garage as garage_
from app.records.garage import Car, Dossier, Garage, GarageError, GoneError, Record, Seen

PLATE = "沪A12345"
MINE = Dossier(
    car=Car(brand="大众", series="帕萨特", plate=PLATE, since="2020-05", drive="petrol", km=62_000),
    done={"oil": Record(km=55_000, month=2026 * 12 + 1)},
    seen=(Seen(key="k", day="2026-11-25", kind="dashboard", level="soon", lamps=("check_engine",), km=61_000),),
)


@pytest.fixture
def clock() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def garage(tmp_path: Path, clock):
    made = Garage(tmp_path / "garage.sqlite", 730, clock=lambda: clock[0])
    yield made
    made.close()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_car_comes_back_by_its_token_alone(garage: Garage):
    mine, other = garage.save("", MINE), garage.save("", Dossier(car=Car(brand="丰田")))
    assert mine != other
    assert len(mine) >= 43  # 32 bytes
    assert garage.load(mine) == MINE
    assert garage.load(other).car.brand == "丰田"
    for guess in ("", "x", mine[:-1], mine + "A", mine.swapcase(), "%", "' OR 1=1 --"):
        with pytest.raises(GoneError):
            garage.load(guess)


def test_changes_are_kept_and_an_unknown_token_makes_no_car(garage: Garage):
    token = garage.save("", MINE)
    assert garage.save(token, MINE.with_car(km=63_000)) == token
    assert garage.load(token).car.km == 63_000
    with pytest.raises(GoneError):
        garage.save("made-up", MINE)


def test_the_file_holds_no_token_and_is_its_owners(garage: Garage):
    token = garage.save("", MINE)
    assert token.encode() not in everything_in(garage.path.parent)
    assert garage.path.stat().st_mode & 0o077 == 0


def test_what_is_deleted_is_gone_from_the_disk(garage: Garage):
    """Not only from the table: free pages and the log of changes hold nothing of it either."""
    token, other = garage.save("", MINE), garage.save("", Dossier(car=Car(brand="丰田")))
    garage.save(token, MINE.with_car(plate="沪B99999"))
    assert PLATE.encode() in everything_in(garage.path.parent)
    garage.delete(token)
    left = everything_in(garage.path.parent)
    assert PLATE.encode() not in left
    assert "沪B99999".encode() not in left
    with pytest.raises(GoneError):
        garage.load(token)
    assert garage.load(other).car.brand == "丰田"


def test_a_car_that_nobody_opens_is_deleted(garage: Garage, clock):
    token, used = garage.save("", MINE), garage.save("", Dossier())
    clock[0] += 700 * 86_400
    garage.load(used)
    clock[0] += 31 * 86_400
    with pytest.raises(GoneError):
        garage.load(token)
    assert garage.load(used) == Dossier()
    garage.save("", Dossier())
    with sqlite3.connect(garage.path) as db:
        assert db.execute("SELECT count(*) FROM cars").fetchone() == (2,)


def test_there_is_an_end_to_what_is_kept(garage: Garage, monkeypatch):
    monkeypatch.setattr(garage_, "MOST_CARS", 2)
    garage.save("", MINE)
    garage.save("", MINE)
    with pytest.raises(GarageError, match="as many cars"):
        garage.save("", MINE)
    monkeypatch.setattr(garage_, "MOST_BYTES", 10)
    with pytest.raises(GarageError, match="too much"):
        garage.save("", MINE)


def test_a_broken_file_is_one_sentence_without_its_place(tmp_path: Path):
    path = tmp_path / "garage.sqlite"
    path.write_bytes(b"no database, but long enough to be looked at " * 30)
    with pytest.raises(GarageError) as caught:
        Garage(path, 730).save("", MINE)
    assert str(tmp_path) not in caught.value.text.en + caught.value.text.zh


def test_nothing_is_written_before_somebody_asks(tmp_path: Path):
    Garage(tmp_path / "home" / "garage.sqlite", 730)
    assert list(tmp_path.iterdir()) == []


def test_many_at_once(garage: Garage):
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(garage.save("", MINE))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 12


# --- the dossier -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "x",
        {"car": {"km": -5}},
        {"car": {"brand": "x" * 100}},
        {"seen": [{"day": "<b>"}]},
        {"done": {"oil": 1}},
    ],
)
def test_what_no_page_of_ours_wrote_is_not_taken(content):
    assert Dossier.read(content) == Dossier()


def test_the_browser_gets_it_and_gives_it_back():
    assert Dossier.read(MINE.model_dump(mode="json")) == MINE
    assert Dossier.read({**MINE.model_dump(mode="json"), "from_a_newer_version": 1}) == MINE


def test_a_photo_is_noted_once_newest_first():
    def photo(key: str, level: str = "ok") -> Seen:
        return Seen(key=key, day="2026-11-25", kind="dashboard", level=level)

    dossier = Dossier().with_seen((photo("a"),)).with_seen((photo("b"), photo("c"))).with_seen((photo("a", "stop"),))
    assert [(one.key, one.level) for one in dossier.seen] == [("a", "stop"), ("b", "ok"), ("c", "ok")]
    assert [one.key for one in dossier.without_seen("b").seen] == ["a", "c"]
    assert dossier.without_seen("").seen == ()
    many = Dossier().with_seen(tuple(photo(str(n)) for n in range(300)))
    assert len(many.seen) == garage_.MOST_SEEN
    assert Dossier.read(many.model_dump(mode="json")) == many
