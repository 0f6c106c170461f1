"""What an owner keeps of a car: the car, what was done to it when, and what photos showed; and where it is kept.

By default it stays in the owner's browser. Who asks for it has it kept here, in a SQLite file of its own, under the
SHA-256 of an unguessable token that only the browser has: neither the file nor a list of it leads to anybody's car.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy.exc import DatabaseError

from app.settings import Settings
from knowledge.maintenance import Done
from knowledge.odometer import MOST_KM
from knowledge.sqlite_file import sqlite_engine
from knowledge.text import UserError

DATABASE = "garage.sqlite"  # in YANGCHE_HOME
TOKEN_BYTES = 32
MOST_SEEN = 200  # photos in a history; the oldest go first
MOST_CARS = 20_000
MOST_BYTES = 2**18  # of one car
DAY_S = 24 * 3600

META = sa.MetaData()
CARS = sa.Table(
    "cars", META,
    sa.Column("token_sha256", sa.String(64), primary_key=True), sa.Column("body", sa.Text, nullable=False),
    sa.Column("touched", sa.Float, nullable=False, index=True),
)  # fmt: skip

_Short = Annotated[str, StringConstraints(max_length=60, strip_whitespace=True)]
_Km = Annotated[int, Field(ge=0, le=MOST_KM)]


class Kept(BaseModel):
    """Part of what is kept; it comes from a browser, so nothing else than this is taken."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Car(Kept):
    """A car as its owner tells it; "" and None were not told. ``since``: first registration, 2020 or 2020-05."""

    brand: _Short = ""
    series: _Short = ""
    plate: _Short = ""
    since: Annotated[str, StringConstraints(max_length=10)] = ""
    drive: Annotated[str, StringConstraints(max_length=20)] = ""
    gearbox: Annotated[str, StringConstraints(max_length=20)] = ""
    heavy: bool = False
    km: _Km | None = None


class Record(Kept):
    """When an item of the schedule was last done; ``month`` counts as in `knowledge.maintenance`."""

    km: _Km | None = None
    month: Annotated[int, Field(ge=0, le=40_000)] | None = None


class Seen(Kept):
    """What one photo showed; never the photo. ``key`` tells photos apart: the same one is noted once."""

    key: _Short
    day: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    kind: Annotated[str, StringConstraints(max_length=20)]
    level: Annotated[str, StringConstraints(max_length=20)]
    lamps: tuple[_Short, ...] = Field(default=(), max_length=60)
    km: _Km | None = None


class Dossier(Kept):
    """All that is kept of a car.

    ``done``: item id -> when; ``absent``: items that this car has not; ``seen``: newest first; ``keep``: note photos
    unasked.
    """

    car: Car = Car()
    done: Mapping[_Short, Record] = Field(default_factory=dict, max_length=200)
    absent: tuple[_Short, ...] = Field(default=(), max_length=200)
    seen: tuple[Seen, ...] = Field(default=(), max_length=MOST_SEEN)
    keep: bool = False

    @classmethod
    def read(cls, content: object) -> Dossier:
        """What a browser or the file held; an empty one where that is none."""
        try:
            return cls.model_validate(content)
        except ValidationError:
            return cls()

    def with_car(self, **changed: Any) -> Dossier:  # noqa: ANN401 - the fields of `Car`
        """With other facts about the car.

        Raises:
            ValidationError: if a fact is too long or out of range.
        """
        return self.model_copy(update={"car": Car.model_validate({**self.car.model_dump(), **changed})})

    def with_done(self, item: str, record: Record | None) -> Dossier:
        """With an item noted as done, or, by None, with its note taken back."""
        done = {key: value for key, value in self.done.items() if key != item}
        return self.model_copy(update={"done": done if record is None else {**done, item: record}})

    def with_seen(self, photos: tuple[Seen, ...]) -> Dossier:
        """With photos noted, each once, newest first."""
        keys = {photo.key for photo in photos}
        others = tuple(photo for photo in self.seen if photo.key not in keys)
        return self.model_copy(update={"seen": (*photos, *others)[:MOST_SEEN]})

    def without_seen(self, key: str) -> Dossier:
        """With one photo, or by "" all of them, taken out of the history."""
        return self.model_copy(update={"seen": tuple(photo for photo in self.seen if key and photo.key != key)})

    @property
    def records(self) -> dict[str, Done]:
        """``done`` as `knowledge.maintenance.due` takes it."""
        return {item: Done(record.km, record.month) for item, record in self.done.items()}


class GarageError(UserError):
    """The file of the cars can't be opened, read or written."""


class GoneError(GarageError):
    """There is no car of this token (any more)."""

    def __init__(self) -> None:
        super().__init__(
            "服务器上已经没有这辆车了（被删除，或太久没有打开），请重新填写。",
            "This server no longer has that car (deleted, or not opened for too long); please fill it in again.",
        )


class Garage:
    """The cars that their owners asked to be kept here. Safe to use from several threads and processes."""

    def __init__(self, path: Path, days: int, clock: Callable[[], float] = time.time) -> None:
        """``days``: after which a car is deleted that nobody opened."""
        self.path, self.days, self._clock = path, days, clock
        self._lock = threading.RLock()
        self._engine: sa.Engine | None = None

    @classmethod
    def open(cls, home: Path) -> Garage:
        """The garage in the folder ``home``; nothing is written there before somebody asks for it."""
        return cls(home / DATABASE, Settings.read().garage_days)

    def save(self, token: str, dossier: Dossier) -> str:
        """Keep a dossier under its token, or under a new one for ""; the token.

        Raises:
            GarageError: if that can't be done, there is no room, or (GoneError) the token is not known (any more).
        """
        body, now = dossier.model_dump_json(), self._clock()
        if len(body.encode()) > MOST_BYTES:
            raise GarageError(
                "这辆车的记录太多，请先删去一些历史。", "There is too much in this car's history; delete some of it."
            )
        with self._writing() as db:
            db.execute(sa.delete(CARS).where(CARS.c.touched < now - self.days * DAY_S))
            if token:
                mine = sa.update(CARS).where(CARS.c.token_sha256 == _sha256(token))
                if db.execute(mine.values(body=body, touched=now)).rowcount != 1:
                    raise GoneError
                return token
            if db.execute(sa.select(sa.func.count()).select_from(CARS)).scalar_one() >= MOST_CARS:
                raise GarageError(
                    "这台服务器存的车已经满了，请继续存在浏览器里。",
                    "This server keeps as many cars as it can; keep yours in the browser.",
                )
            token = secrets.token_urlsafe(TOKEN_BYTES)
            db.execute(sa.insert(CARS).values(token_sha256=_sha256(token), body=body, touched=now))
        return token

    def load(self, token: str) -> Dossier:
        """The dossier of whoever bears this token; opening it makes it last longer.

        Raises:
            GarageError: if it can't be read, or (GoneError) there is none (any more).
        """
        now = self._clock()
        mine = CARS.c.token_sha256 == _sha256(token)
        with self._writing() as db:
            row = db.execute(sa.select(CARS.c.body, CARS.c.touched).where(mine)).first()
            if row is None or row.touched < now - self.days * DAY_S:
                raise GoneError
            if now - row.touched > DAY_S:
                db.execute(sa.update(CARS).where(mine).values(touched=now))
        return Dossier.model_validate_json(row.body)

    def delete(self, token: str) -> None:
        """Delete a car for good: nothing of it stays in the file, or in its log of changes."""
        with self._writing() as db:
            db.execute(sa.delete(CARS).where(CARS.c.token_sha256 == _sha256(token)))
        with self._told(), closing(self._open().raw_connection()) as borrowed:
            borrowed.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _open(self) -> sa.Engine:
        """The file, made for its owner's eyes only when it is first needed."""
        with self._lock:
            if self._engine is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
                engine = sqlite_engine(self.path)
                sa.event.listen(engine, "connect", lambda db, _: db.execute("PRAGMA secure_delete=ON"))
                with engine.execution_options(writes=True).begin() as db:
                    META.create_all(db)
                self._engine = engine
            return self._engine

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong as one sentence; the reason is for the log of whoever runs the server."""
        try:
            yield
        except (DatabaseError, OSError, ValidationError) as error:
            raise GarageError(
                "车辆档案现在读写不了，请稍后再试；一直这样请告诉管理员。",
                "The cars kept here cannot be read or written now; try again, else tell whoever runs this.",
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._told(), self._open().execution_options(writes=True).begin() as db:
            yield db


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
