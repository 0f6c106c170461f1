"""`yangche user`: who may log in. The first admin is made here, never by the web. `add_to` hangs the commands in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.options import JsonOption, LangOption, language_of, print_json, user_error
from app.settings import Settings
from app.texts import say
from knowledge.text import Lang

if TYPE_CHECKING:
    from app.records.accounts import Accounts

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="用户名 / The user's name.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="从标准输入读密码（一行） / Read the password from stdin, one line.")
]


def add_to(app: typer.Typer) -> None:
    """Hang `user` and its commands into ``app``."""
    user = typer.Typer(
        help="用户和角色 / Users and their roles: technician, trainer, admin.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(user, name="user")
    for name, command in (("add", add), ("list", list_), ("remove", remove), ("password", password), ("role", role)):
        user.command(name)(command)


def _accounts() -> Accounts:
    from app.records.accounts import Accounts

    return Accounts.open(Settings.read().home)


def add(
    name: NameArgument,
    role: Annotated[str, typer.Option("--role", help="technician | trainer | admin")],
    password_stdin: StdinOption = False,
    lang: LangOption = None,
) -> None:
    """添加用户；密码会问两遍。 / Add a user; the password is asked for twice."""
    from app.records.accounts import checked_name, checked_role

    language = language_of(lang)
    checked_name(name)  # before anybody types a password
    checked_role(role)
    user = _accounts().add(name, _password(password_stdin, language), role)
    print(say("accounts.added", language, name=user.name, role=user.role))


def list_(as_json: JsonOption = False, lang: LangOption = None) -> None:
    """列出用户。 / List the users."""
    users = _accounts().users()
    if as_json:
        print_json({"users": [{"name": user.name, "role": user.role} for user in users]})
        return
    for user in users:
        print(f"{user.name}  {user.role}")
    if not users:
        print(say("accounts.none", language_of(lang)))


def remove(name: NameArgument, lang: LangOption = None) -> None:
    """删除用户，并让其退出登录。 / Remove a user and log them out."""
    _accounts().remove(name)
    print(say("accounts.removed", language_of(lang), name=name))


def password(name: NameArgument, password_stdin: StdinOption = False, lang: LangOption = None) -> None:
    """改密码；已登录的要重新登录。 / Change a password; whoever is logged in must log in again."""
    language = language_of(lang)
    _accounts().set_password(name, _password(password_stdin, language))
    print(say("accounts.password_changed", language, name=name))


def role(
    name: NameArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="technician | trainer | admin")],
    lang: LangOption = None,
) -> None:
    """改角色，马上生效。 / Change a role; it counts at once."""
    _accounts().set_role(name, role)
    print(say("accounts.role_changed", language_of(lang), name=name, role=role))


def _password(from_stdin: bool, lang: Lang) -> str:
    from app.records.accounts import checked_password

    if from_stdin:
        line = sys.stdin.buffer.readline().decode("utf-8", "surrogateescape")
        return checked_password(line.rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise user_error("accounts.no_terminal")
    first = checked_password(typer.prompt(say("accounts.ask", lang), hide_input=True))
    if typer.prompt(say("accounts.ask_again", lang), hide_input=True) != first:
        raise user_error("accounts.not_the_same")
    return first
