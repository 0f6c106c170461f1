"""`yangche evidence`: packs the photos of an accident for police and insurer. `add_to` hangs it into a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.options import LangOption, language_of
from app.paper.evidence_parts import check_out, clean, evidence_error, word
from knowledge.text import Lang

if TYPE_CHECKING:
    from app.paper.evidence import Evidence, Party
    from knowledge.playbook import Severity
    from vision.draw import Mark
    from vision.plates import Shape, TextFinder


@dataclass(frozen=True)
class Seen:
    """What a machine saw on one photo.

    Attributes:
        marks: what to draw, boxes in pixels of the upright photo.
        labels: a line for each number among ``marks``, in the order of the numbers, such as "Dent, 87 % sure".
        things: labels of the playbook, such as "dent" or "fire".
        severity: None where it could not be told.
    """

    marks: Sequence[Mark] = ()
    labels: Sequence[str] = ()
    things: frozenset[str] = frozenset()
    severity: Severity | None = None


Diagnose = Callable[[bytes, str, Lang], Seen]
"""A photo's bytes, its name, and the language that captions and labels are wanted in."""


def add_to(
    app: typer.Typer,
    diagnose: Callable[[], Diagnose] | None = None,
    finder: Callable[[], TextFinder] | None = None,
) -> None:
    """Hang the command into ``app``.

    Args:
        diagnose: loads what looks at photos; called once, when the command runs. Without it photos are packed unseen.
        finder: loads what finds the text of number plates; default: RapidOCR.
    """

    @app.command("evidence")
    def evidence(
        photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="事故照片 / Photos of the accident.")],
        out: Annotated[Path, typer.Option(help="写到这个 ZIP / The ZIP to write.")] = Path("evidence.zip"),
        lang: LangOption = None,
        time: Annotated[
            str | None, typer.Option(metavar="ISO", help="事故时间 / When it happened, such as 2025-11-25T08:30.")
        ] = None,
        place: Annotated[str | None, typer.Option(help="事故地点 / Where it happened.")] = None,
        place_from_photo: Annotated[
            bool, typer.Option("--place-from-photo", help="地点取自照片的定位 / Take the place from the photos.")
        ] = False,
        shows: Annotated[
            list[str] | None,
            typer.Option(metavar="PHOTO=LINE,LINE", help="照片拍到了清单的哪几项 / What a photo shows; repeatable."),
        ] = None,
        hide: Annotated[
            list[str] | None,
            typer.Option(metavar="PHOTO=X1,Y1,X2,Y2", help="遮住照片的一块（像素） / Hide an area; repeatable."),
        ] = None,
        answer: Annotated[
            list[str] | None, typer.Option(metavar="QUESTION=ANSWER", help="回答问题 / Answer a question; repeatable.")
        ] = None,
        party_a: Annotated[
            list[str] | None, typer.Option(metavar="KEY=VALUE", help="甲方，如 name=王五 / Party A; repeatable.")
        ] = None,
        party_b: Annotated[
            list[str] | None, typer.Option(metavar="KEY=VALUE", help="乙方 / Party B; repeatable.")
        ] = None,
        region: Annotated[str | None, typer.Option(help="china, international")] = None,
    ) -> None:
        """整理事故证据：原照片、可转发的副本、报告。 / Pack an accident's photos, copies to share, and a report."""
        language = language_of(lang)
        check_out(out)
        for photo in photos:
            if photo.exists() and out.exists() and photo.samefile(out):
                raise evidence_error("cli.out_is_photo", path=photo)
        names = [str(photo) for photo in photos]
        shown = _per_photo("--shows", shows or [], names)
        hidden = _per_photo("--hide", hide or [], names)
        parties = _party("--party-a", party_a or []), _party("--party-b", party_b or [])
        given = _Given(
            when=when_of(time),
            place=place,
            place_from_photo=place_from_photo,
            shows={n: [line.strip() for value in values for line in value.split(",")] for n, values in shown.items()},
            hide={n: [_shape(names[n], value) for value in values] for n, values in hidden.items()},
            answers=dict(_pair("--answer", pair, "QUESTION=ANSWER") for pair in answer or []),
            parties=parties,
        )
        evidence = _gathered(photos, given, diagnose() if diagnose else None, region, language)
        _pack(evidence, out, language, finder)


@dataclass(frozen=True)
class _Given:
    """What the options said; photos by their place among the arguments."""

    when: datetime | None
    place: str | None
    place_from_photo: bool
    shows: Mapping[int, Sequence[str]]
    hide: Mapping[int, Sequence[Shape]]
    answers: Mapping[str, str]
    parties: tuple[Party, Party]


def _gathered(
    photos: Sequence[Path], given: _Given, diagnose: Diagnose | None, region: str | None, lang: Lang
) -> Evidence:
    """The evidence: each photo looked at, and the playbook's advice for all of them together."""
    from app.paper.evidence import Evidence, Exhibit, told
    from app.settings import Settings
    from knowledge.playbook import SEVERITIES, Scene, advise, load_playbook
    from vision.photo import _read

    playbook = load_playbook(region or Settings.read().region)
    advise(Scene(), given.answers, playbook)  # an answer that nobody knows is refused before photos are looked at
    exhibits, scenes = [], []
    for place, photo in enumerate(photos):
        name = clean(photo.name).replace("\n", " ") or str(photo)
        original = _read(photo, name)
        seen = diagnose(original, name, lang) if diagnose else None
        scenes += [seen] if seen else []
        exhibits.append(
            Exhibit(
                name=name,
                original=original,
                marks=seen.marks if seen else (),
                labels=seen.labels if seen else None,
                shows=given.shows.get(place, ()),
                hide=given.hide.get(place, ()),
            )
        )
    things = frozenset(thing for seen in scenes for thing in seen.things)
    severity = max((seen.severity for seen in scenes if seen.severity), key=SEVERITIES.index, default=None)
    advice = advise(Scene(things, severity), given.answers, playbook)
    return Evidence(
        exhibits=exhibits,
        severity=severity,
        when=given.when,
        place=given.place,
        place_from_photo=given.place_from_photo,
        # Where taking pictures was dangerous the advice has no list; once all are safe, what is missing counts again.
        checklist=advice.photograph or playbook.photograph,
        steps=advice.steps,
        answers=told(given.answers, playbook),
        party_a=given.parties[0],
        party_b=given.parties[1],
    )


def _pack(evidence: Evidence, out: Path, lang: Lang, finder: Callable[[], TextFinder] | None) -> None:
    from app.paper.evidence import write_package

    package = write_package(evidence, out, lang, finder=finder)
    if package.no_plates is not None:
        print(package.no_plates.in_(lang), file=sys.stderr)
        print(word("report.no_plates", lang), file=sys.stderr)
    print(word("cli.done", lang, path=out))
    if package.missing:
        lines = ("；" if lang == "zh" else "; ").join(line.text.in_(lang) for line in package.missing)
        print(word("cli.missing", lang, lines=lines))
    print(word("cli.send", lang))
    print(word("cli.look", lang))


# --- options -------------------------------------------------------------------------------------------------------


def _pair(option: str, given: str, form: str, last: bool = False) -> tuple[str, str]:
    """What stands before and after the first "=", or the ``last``: names of files may hold one."""
    key, equals, value = given.rpartition("=") if last else given.partition("=")
    if not (equals and key.strip() and value.strip()):
        raise evidence_error("cli.bad_pair", option=option, form=form, given=given)
    return key.strip(), value.strip()


def _per_photo(option: str, pairs: Sequence[str], names: Sequence[str]) -> dict[int, list[str]]:
    """PHOTO=VALUE by the photo's place. A photo is named as given, by a file name that no other has, or by number."""
    found: dict[int, list[str]] = {}
    for pair in pairs:
        photo, value = _pair(option, pair, "PHOTO=...", last=True)
        same = [n for n, name in enumerate(names) if name == photo]
        same = same or [n for n, name in enumerate(names) if Path(name).name == photo]
        if len(same) != 1:
            same = [int(photo) - 1] if photo.isdecimal() and 1 <= int(photo) <= len(names) else []
        if not same:
            known = ", ".join(f"{n} {Path(name).name}" for n, name in enumerate(names, start=1))
            raise evidence_error("cli.unknown_photo", option=option, given=photo, known=known)
        found.setdefault(same[0], []).append(value)
    return found


def _shape(photo: str, given: str) -> Shape:
    """A rectangle of 4 numbers, or a polygon of at least 3 points."""
    try:
        numbers = [float(part) for part in given.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 4:
        return numbers
    if len(numbers) < 6 or len(numbers) % 2:
        raise evidence_error("error.bad_hide", photo=Path(photo).name)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _party(option: str, pairs: Sequence[str]) -> Party:
    from app.paper.evidence import Party

    known = [field.name for field in fields(Party)]
    told: dict[str, str] = {}
    for pair in pairs:
        key, value = _pair(option, pair, "KEY=VALUE")
        if key not in known:
            raise evidence_error("cli.unknown_key", option=option, given=key, known=", ".join(known))
        told[key] = value
    return Party(**told)


def when_of(given: str | None) -> datetime | None:
    """A time as people give it, None for none; without its zone it is one of this machine's.

    Raises:
        EvidenceError: if it cannot be read.
    """
    if given is None or not given.strip():
        return None
    try:
        when = datetime.fromisoformat(given.strip())
    except ValueError as error:
        raise evidence_error("cli.bad_time", given=given) from error
    return when if when.tzinfo else when.astimezone()
