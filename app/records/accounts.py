"""Who may work in the archive over the network: users, their sessions, and a limit on guessing passwords.

They stand in a SQLite file of their own, ``accounts.sqlite``, so that a copy of the archive holds no passwords.
Passwords are kept as Argon2id hashes, session tokens as SHA-256: neither can be read back from the file.
"""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import sqlalchemy as sa

from knowledge.sqlite_file import SqliteFile
from knowledge.text import Text, UserError

Role = Literal["technician", "trainer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

DATABASE = "accounts.sqlite"  # in YANGCHE_HOME
MIN_PASSWORD = 10  # characters
MAX_PASSWORD = 1_000
MAX_NAME = 60
SESSION_S = 12 * 3600
TOKEN_BYTES = 32
# So many failures for one name, or from one address, within the window: then no more tries for as long again.
NAME_FAILURES, ADDRESS_FAILURES, WINDOW_S = 5, 20, 15 * 60
HASHING = 2  # passwords that are hashed at once: each takes 64 MiB

_NAME = re.compile(r"[\w.\-]+(?: [\w.\-]+)*")
META = sa.MetaData()
USERS = sa.Table(
    "users", META,
    sa.Column("name_key", sa.String(200), primary_key=True), sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(20), nullable=False), sa.Column("password", sa.String(300), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)  # fmt: skip
SESSIONS = sa.Table(
    "sessions", META,
    sa.Column("token_sha256", sa.String(64), primary_key=True),
    sa.Column("name_key", sa.String(200), nullable=False, index=True), sa.Column("expires", sa.Float, nullable=False),
)  # fmt: skip
TRIES = sa.Table(
    "login_tries", META,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("subject", sa.String(80), nullable=False, index=True), sa.Column("at", sa.Float, nullable=False),
)  # fmt: skip


class AccountError(UserError):
    """A user, a role or a password that can't be taken."""


class AccountsError(UserError):
    """The file of the accounts can't be opened, read or written."""


class LoginError(UserError):
    """The name or the password is wrong; which of them is never told."""

    def __init__(self) -> None:
        super().__init__("用户名或密码不对，请重新输入。", "The name or the password is wrong; please try again.")


class TooManyTries(LoginError):  # noqa: N818 - it says what happened
    """No more tries for now. ``wait_s``: for how many seconds."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(1, round(wait_s))
        minutes = max(1, -(-self.wait_s // 60))
        UserError.__init__(
            self,
            f"登录失败次数太多，请过 {minutes} 分钟再试。",
            f"Too many failed logins; please try again in {minutes} minute{'s' if minutes > 1 else ''}.",
        )


@dataclass(frozen=True)
class User:
    """Someone who may log in."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this user may do what is for ``role``; an admin may do all."""
        return self.role in {role, "admin"}


@dataclass(frozen=True)
class Session:
    """A login that counts until ``expires`` (seconds since 1970). ``token`` is told once, here."""

    token: str
    user: User
    expires: float


class Accounts:
    """The accounts in one file. Safe to use from several threads and processes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open the file, or create it for its owner's eyes only.

        Raises:
            AccountsError: if that can't be done; the sentence says why.
        """
        self.path, self._clock = path, clock
        self._hashing = threading.BoundedSemaphore(HASHING)
        self._file = SqliteFile(path, Text(zh="账户文件", en="accounts file"), AccountsError, private=True)
        self._reading, self._writing = self._file.reading, self._file.writing
        with self._writing() as db:
            META.create_all(db)

    @classmethod
    def open(cls, home: Path) -> Accounts:
        """The accounts in the folder ``home``."""
        return cls(home / DATABASE)

    def users(self) -> list[User]:
        """Everyone, by name."""
        with self._reading() as db:
            rows = db.execute(sa.select(USERS.c.name, USERS.c.role).order_by(USERS.c.name_key)).all()
        return [User(row.name, cast(Role, row.role)) for row in rows]

    def add(self, name: str, password: str, role: str) -> User:
        """A new user.

        Raises:
            AccountError: if the name is taken or no name, the password too short, or there is no such role.
        """
        user = User(checked_name(name), checked_role(role))
        row = {"name_key": _key(user.name), "name": user.name, "role": user.role, "created": self._clock()}
        row["password"] = self._hash(checked_password(password))
        with self._writing() as db:
            if db.execute(sa.select(USERS.c.name).where(USERS.c.name_key == row["name_key"])).first():
                raise AccountError(f"用户 {user.name} 已经有了。", f"There is a user {user.name} already.")
            db.execute(sa.insert(USERS).values(**row))
        return user

    def remove(self, name: str) -> None:
        """Remove a user and end all their sessions.

        Raises:
            AccountError: if there is no such user.
        """
        with self._writing() as db:
            self._one(db.execute(sa.delete(USERS).where(USERS.c.name_key == _key(name))).rowcount, name)
            db.execute(sa.delete(SESSIONS).where(SESSIONS.c.name_key == _key(name)))

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password; whoever is logged in under the name is logged out.

        Raises:
            AccountError: if there is no such user, or the password is too short.
        """
        hashed = self._hash(checked_password(password))
        with self._writing() as db:
            mine = sa.update(USERS).where(USERS.c.name_key == _key(name))
            self._one(db.execute(mine.values(password=hashed)).rowcount, name)
            db.execute(sa.delete(SESSIONS).where(SESSIONS.c.name_key == _key(name)))

    def set_role(self, name: str, role: str) -> None:
        """Give a user another role; it counts at once.

        Raises:
            AccountError: if there is no such user, or no such role.
        """
        known = checked_role(role)
        with self._writing() as db:
            mine = sa.update(USERS).where(USERS.c.name_key == _key(name))
            self._one(db.execute(mine.values(role=known)).rowcount, name)

    def _one(self, rows: int, name: str) -> None:
        if rows != 1:
            raise AccountError(f"没有用户 {name}。", f"There is no user {name}.")

    def login(self, name: str, password: str, address: str) -> Session:
        """A new session. ``address`` is where the caller comes from.

        Raises:
            TooManyTries: after too many failures for this name or from this address; the password isn't looked at.
            LoginError: if the name or the password is wrong. Both take the same time.
        """
        subjects = {_subject("name", _key(name)): NAME_FAILURES, _subject("address", address): ADDRESS_FAILURES}
        tried = self._note_try(subjects)
        with self._reading() as db:
            row = db.execute(sa.select(USERS).where(USERS.c.name_key == _key(name))).first()
        nobodys = _nobodys_hash()
        good = self._verified(row.password if row else nobodys, password)
        if row is None or not good:
            raise LoginError
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._clock()
        anew = self._hash(password) if _hasher().check_needs_rehash(row.password) else row.password
        with self._writing() as db:
            # Only the password that was looked at: it may have been changed, or the user removed, meanwhile.
            same = sa.and_(USERS.c.name_key == row.name_key, USERS.c.password == row.password)
            if db.execute(sa.update(USERS).where(same).values(password=anew)).rowcount != 1:
                raise LoginError
            db.execute(sa.delete(SESSIONS).where(SESSIONS.c.expires <= now))
            values = {"token_sha256": _sha256(token), "name_key": row.name_key, "expires": now + SESSION_S}
            db.execute(sa.insert(SESSIONS).values(**values))
            mine = sa.or_(TRIES.c.number.in_(tried), TRIES.c.subject == _subject("name", row.name_key))
            db.execute(sa.delete(TRIES).where(mine))
        return Session(token, User(row.name, cast(Role, row.role)), now + SESSION_S)

    def _note_try(self, subjects: dict[str, int]) -> list[int]:
        """Count a try before it is looked at, so that many at once get no further than many in a row."""
        now = self._clock()
        with self._writing() as db:
            db.execute(sa.delete(TRIES).where(TRIES.c.at < now - 2 * WINDOW_S))
            for subject, limit in subjects.items():
                mine = sa.select(TRIES.c.at).where(TRIES.c.subject == subject).order_by(TRIES.c.at.desc()).limit(limit)
                times = db.execute(mine).scalars().all()
                if len(times) == limit and times[0] - times[-1] < WINDOW_S and now - times[0] < WINDOW_S:
                    raise TooManyTries(times[0] + WINDOW_S - now)
            rows = [db.execute(sa.insert(TRIES).values(subject=subject, at=now)) for subject in subjects]
            return [int(row.inserted_primary_key[0]) for row in rows if row.inserted_primary_key]

    def session(self, token: str) -> Session | None:
        """The session of whoever bears this token, None if it is unknown or over."""
        asked = sa.select(USERS.c.name, USERS.c.role, SESSIONS.c.expires).where(
            SESSIONS.c.token_sha256 == _sha256(token),
            SESSIONS.c.name_key == USERS.c.name_key,
            SESSIONS.c.expires > self._clock(),
        )
        with self._reading() as db:
            row = db.execute(asked).first()
        return Session(token, User(row.name, cast(Role, row.role)), row.expires) if row else None

    def logout(self, token: str) -> None:
        """End a session."""
        with self._writing() as db:
            db.execute(sa.delete(SESSIONS).where(SESSIONS.c.token_sha256 == _sha256(token)))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _hash(self, password: str) -> str:
        with self._hashing:
            return str(_hasher().hash(_bytes(password)))

    def _verified(self, hashed: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        with self._hashing:
            try:
                return bool(_hasher().verify(hashed, _bytes(password)))
            except (VerificationError, InvalidHashError):
                return False


@functools.cache
def _hasher():  # type: ignore[no-untyped-def]  # noqa: ANN202 - argon2 is loaded on use
    from argon2 import PasswordHasher

    return PasswordHasher()


@functools.cache
def _nobodys_hash() -> str:
    """What the password of an unknown name is compared with, so that it takes as long as a known one's."""
    return str(_hasher().hash(secrets.token_hex()))


def checked_name(name: str) -> str:
    """The name as it is kept.

    Raises:
        AccountError: if it can't be a user's name.
    """
    plain = unicodedata.normalize("NFKC", name).strip()
    if len(plain) > MAX_NAME or not _NAME.fullmatch(plain):
        raise AccountError(
            f"用户名只能用文字、数字、点、横线和单个空格，最多 {MAX_NAME} 个字符。",
            f"A name may hold letters, digits, dots, hyphens and single blanks, at most {MAX_NAME} characters.",
        )
    return plain


def checked_role(role: str) -> Role:
    """The role.

    Raises:
        AccountError: if there is none of this name.
    """
    for known in ROLES:
        if role == known:
            return known
    raise AccountError(
        f"角色只能是 {'、'.join(ROLES)} 之一，不能是“{role}”。",
        f"The role must be one of {', '.join(ROLES)}, not “{role}”.",
    )


def checked_password(password: str) -> str:
    """The password, if it may be one.

    Raises:
        AccountError: if it is too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccountError(
            f"密码要有 {MIN_PASSWORD} 到 {MAX_PASSWORD} 个字符。",
            f"The password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters.",
        )
    return password


def _key(name: str) -> str:
    """What tells names apart: not case, nor the width of letters."""
    return unicodedata.normalize("NFKC", name).strip().casefold().encode("utf-8", "replace").decode()[:200]


def _bytes(password: str) -> bytes:
    """The password as it is hashed: the same however a keyboard spells its characters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _subject(kind: str, who: str) -> str:
    return f"{kind}:{_sha256(who)}"  # as a hash: at times a password is typed into the field of the name
