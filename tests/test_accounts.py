"""Users, sessions and the limit on guessing, in a real SQLite file; and `yangche user`."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from app.records import accounts as accounts_
from app.records.accounts import (
    ADDRESS_FAILURES,
    NAME_FAILURES,
    SESSION_S,
    WINDOW_S,
    AccountError,
    Accounts,
    AccountsError,
    LoginError,
    TooManyTries,
    User,
)
from tests.commands import ROOT

PASSWORD = "correct horse"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module", autouse=True)
def quick_hashes() -> None:
    """The same Argon2, with little memory: the tests hash dozens of passwords."""
    from argon2 import PasswordHasher

    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    patch = pytest.MonkeyPatch()
    patch.setattr(accounts_, "_hasher", lambda: quick)
    accounts_._nobodys_hash.cache_clear()
    yield
    patch.undo()
    accounts_._nobodys_hash.cache_clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    made = Accounts(tmp_path / "accounts.sqlite", clock)
    made.add("李师傅", PASSWORD, "technician")
    return made


def fail(accounts: Accounts, name: str = "李师傅", address: str = "10.0.0.1") -> None:
    with pytest.raises(LoginError) as caught:
        accounts.login(name, "wrong password", address)
    assert type(caught.value) is LoginError


def test_a_login_lasts_twelve_hours_and_ends_at_logout(accounts, clock):
    session = accounts.login("李师傅", PASSWORD, "10.0.0.1")
    assert session.user == User("李师傅", "technician")
    clock.now += SESSION_S - 1
    assert accounts.session(session.token).user == session.user
    clock.now += 1
    assert accounts.session(session.token) is None
    again = accounts.login("李师傅", PASSWORD, "10.0.0.1")
    accounts.logout(again.token)
    assert accounts.session(again.token) is None


def test_the_file_holds_neither_passwords_nor_tokens_and_is_the_owners_alone(accounts):
    token = accounts.login("李师傅", PASSWORD, "10.0.0.1").token
    fail(accounts, name="secret typed as name")
    accounts.close()
    content = b"".join(path.read_bytes() for path in accounts.path.parent.iterdir())
    for secret in (PASSWORD, token, "secret typed as name", "10.0.0.1"):
        assert secret.encode() not in content
    assert b"$argon2id$" in content
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600


def test_a_new_password_a_removal_and_a_role_count_at_once(accounts):
    first = accounts.login("李师傅", PASSWORD, "a").token
    accounts.set_role("李师傅", "trainer")
    assert accounts.session(first).user.role == "trainer"
    accounts.set_password("李师傅", "another one 2")
    assert accounts.session(first) is None
    fail(accounts)
    second = accounts.login("李师傅", "another one 2", "a").token
    accounts.remove("李师傅")
    assert accounts.session(second) is None
    assert accounts.users() == []
    accounts.add("李师傅", PASSWORD, "technician")
    assert accounts.session(second) is None


def test_names_differ_by_more_than_case_and_width(accounts):
    accounts.add("Anna", PASSWORD, "admin")
    with pytest.raises(AccountError):
        accounts.add("ＡＮＮＡ", PASSWORD, "admin")
    assert accounts.login(" anna ", PASSWORD, "a").user.name == "Anna"


@pytest.mark.parametrize("name", ["", " ", "a\0b", "a\nb", "x" * 61, "<b>", "a  b", "a/b"])
def test_names_that_are_none(accounts, name):
    with pytest.raises(AccountError):
        accounts.add(name, PASSWORD, "admin")


@pytest.mark.parametrize("password", ["", "123456789", "x" * 1001])
def test_passwords_that_are_none(accounts, password):
    with pytest.raises(AccountError):
        accounts.add("Anna", password, "admin")
    with pytest.raises(AccountError):
        accounts.set_password("李师傅", password)


def test_unknown_users_and_roles(accounts):
    for change in (
        lambda: accounts.remove("nobody"),
        lambda: accounts.set_password("nobody", PASSWORD),
        lambda: accounts.set_role("nobody", "admin"),
        lambda: accounts.set_role("李师傅", "boss"),
        lambda: accounts.add("Anna", PASSWORD, "boss"),
    ):
        with pytest.raises(AccountError):
            change()


@pytest.mark.parametrize("name", ["李师傅", "nobody", "\ud800\0"])
def test_after_five_failures_a_name_must_wait_whether_it_exists_or_not(accounts, clock, name):
    for _ in range(NAME_FAILURES):
        fail(accounts, name)
    reopened = Accounts(accounts.path, clock)  # a restart clears nothing
    for password in ("wrong password", PASSWORD):
        with pytest.raises(TooManyTries) as caught:
            reopened.login(name, password, "10.9.9.9")
        assert caught.value.wait_s == WINDOW_S
    clock.now += WINDOW_S - 1
    with pytest.raises(TooManyTries):
        reopened.login(name, PASSWORD, "10.9.9.9")
    clock.now += 1
    fail(reopened, name)


def test_failures_that_lie_far_apart_do_not_add_up(accounts, clock):
    for _ in range(3 * NAME_FAILURES):
        fail(accounts)
        clock.now += WINDOW_S / (NAME_FAILURES - 1)


def test_a_success_clears_the_names_failures(accounts):
    for _ in range(3):
        for _ in range(NAME_FAILURES - 1):
            fail(accounts)
        accounts.login("李师傅", PASSWORD, "10.0.0.1")


def test_after_twenty_failures_an_address_must_wait_under_any_name(accounts):
    for number in range(ADDRESS_FAILURES):
        fail(accounts, f"name {number}")
        if number % 5 == 0:
            accounts.login("李师傅", PASSWORD, "10.0.0.1")  # one's own account clears no address
    with pytest.raises(TooManyTries):
        accounts.login("李师傅", PASSWORD, "10.0.0.1")
    accounts.login("李师傅", PASSWORD, "10.0.0.2")


def test_many_tries_at_once_get_no_further_than_many_in_a_row(accounts):
    outcomes = []

    def attempt() -> None:
        try:
            accounts.login("李师傅", "wrong password", "10.0.0.1")
        except LoginError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(LoginError) == NAME_FAILURES
    assert outcomes.count(TooManyTries) == 20 - NAME_FAILURES


def test_an_unknown_name_costs_a_password_check_too(accounts, monkeypatch):
    asked = []
    verified = Accounts._verified
    monkeypatch.setattr(Accounts, "_verified", lambda self, *told: asked.append(told) or verified(self, *told))
    fail(accounts)
    fail(accounts, "nobody")
    assert len(asked) == 2
    assert asked[0][0].split("$")[:4] == asked[1][0].split("$")[:4]  # hashed with the same effort


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "accounts.sqlite"
    path.write_bytes(b"no database at all, but long enough to be looked at " * 20)
    with pytest.raises(AccountsError):
        Accounts(path)


def user(home: Path, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    """`yangche user ...` in a process of its own, the password on its standard input."""
    import os
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "user", *arguments],
        cwd=ROOT,
        env={**os.environ, "YANGCHE_HOME": str(home), "YANGCHE_LANG": "en"},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_line(tmp_path):
    added = user(tmp_path, "add", "boss", "--role", "admin", "--password-stdin", typed=f"{PASSWORD}\n")
    assert added == (0, "Added the user boss (admin).\n", "")
    status, out, err = user(tmp_path, "add", "boss", "--role", "admin", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (status, out) == (1, "")
    assert err == "There is a user boss already.\n"
    assert user(tmp_path, "role", "boss", "technician")[0] == 0
    assert user(tmp_path, "list", "--json")[1] == '{"users": [{"name": "boss", "role": "technician"}]}\n'
    short = user(tmp_path, "password", "boss", "--password-stdin", typed="short\n")
    assert (short[0], short[1]) == (1, "")
    assert user(tmp_path, "password", "boss", "--password-stdin", typed="ten or more\r\n")[0] == 0
    assert user(tmp_path, "add", "x", "--role", "admin", typed="")[0] == 1  # no terminal to ask in
    Accounts.open(tmp_path).login("boss", "ten or more", "here")
    assert user(tmp_path, "remove", "boss")[0] == 0
    assert "yangche user add" in user(tmp_path, "list")[1]
    with sqlite3.connect(tmp_path / "accounts.sqlite") as db:
        assert db.execute("select count(*) from sessions").fetchone() == (0,)
