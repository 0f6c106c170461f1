"""The command line. Options and outputs that releases are measured by stand in the README; heavy parts load on use."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import accounts as accounts_cli
from app.commands import archive as archive_cli
from app.commands import codes as codes_cli
from app.commands import evidence as evidence_cli
from app.commands import maintenance as maintenance_cli
from app.commands import shops as shops_cli
from app.commands import training as training_cli
from app.commands.options import (
    JsonOption,
    LangOption,
    console,
    fail,
    language_of,
    print_json,
    speak,
    spoken,
    user_error,
)
from app.settings import Settings
from app.texts import say
from knowledge.text import Lang, UserError

if TYPE_CHECKING:
    from app.advisor import Advisor, Diagnosis
    from app.commands.evidence import Diagnose
    from app.lamps import Rgb
    from knowledge.answers import Answer

app = typer.Typer(
    name="yangche",
    help="养车：看灯识故障，看现场说怎么办，查维修案例。 / Lamps and accidents read, past fixes found.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
catalogue_app = typer.Typer(help="指示灯目录 / The catalogue of lights.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(catalogue_app, name="catalogue")
accounts_cli.add_to(app)
archive_cli.add_to(app)
codes_cli.add_to(app)
maintenance_cli.add_to(app)
shops_cli.add_to(app)
training_cli.add_to(app)


def _looker() -> Diagnose:
    from app.advisor import Advisor
    from app.pages.evidence_page import looker

    return looker(Advisor.open())


evidence_cli.add_to(app, _looker)


def main() -> None:
    """Run the command line; the exit status is 1 if anything asked for could not be done."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Chinese must print whatever the locale says
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    speak(None)
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        print(error.text.in_(spoken()), file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        print(say("cli.stopped", spoken()), file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as head, has had enough
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # usage errors of the parser carry their own exit status
        if not hasattr(error, "exit_code"):
            raise
        error.show()  # type: ignore[attr-defined]
        sys.exit(error.exit_code)
    sys.exit(status or 0)


@app.command()
def diagnose(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="仪表盘或事故照片 / Photos of a dashboard or an accident.")
    ],
    as_json: JsonOption = False,
    confidence: Annotated[
        float | None,
        typer.Option(help="列出不低于此把握的所有灯 / List everything down to this confidence."),
    ] = None,
    lang: LangOption = None,
    out: Annotated[Path | None, typer.Option(help="标注图写到这个文件夹 / Folder for annotated pictures.")] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(metavar="QUESTION=ANSWER", help="回答问题，可多次 / Answer a question; repeatable."),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="出事地点：china 或 international / Whose rules apply after an accident.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text/--no-text", help="读仪表上的文字 / Read the words on the cluster.")
    ] = True,
) -> None:
    """看照片，给建议。 / Read the lit lamps in photos and give advice."""
    from app.advisor import Advisor, error_json

    language = language_of(lang)
    if confidence is not None and not 0 <= confidence <= 1:
        fail(say("cli.bad_confidence", language, given=confidence), status=2)
    advisor = Advisor.open(region=region)
    answers = _answers(answer or [], advisor, language)
    pictures = _Pictures(out)
    failed = False
    for photo in photos:
        try:
            diagnosis, picture = _diagnose_one(advisor, photo, language, confidence, answers, pictures, text)
            for missing in (diagnosis.no_fixes, diagnosis.no_text):
                if missing is not None:
                    print(missing.in_(language), file=sys.stderr)
            if as_json:
                print_json(diagnosis.to_json(language))
            else:
                from app.report import print_diagnosis

                print_diagnosis(console(), diagnosis, language, picture)
        except Exception as caught:  # one photo must not stop the others
            if isinstance(caught, BrokenPipeError):
                raise
            failed = True
            error = caught if isinstance(caught, UserError) else _unexpected(caught)
            if as_json:
                print_json(error_json(photo, error, language))
            else:
                print(f"{photo}: {error.text.in_(language)}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def search(
    query: Annotated[str | None, typer.Argument(help="故障描述 / The fault, in words.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="每行一个 {query_id, query} 的文件 / A file with one {query_id, query} a line.")
    ] = None,
    as_json: JsonOption = False,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="最多几条 / At most so many hits.")] = 10,
    brand: Annotated[str | None, typer.Option(help="品牌 / Brand.")] = None,
    series: Annotated[str | None, typer.Option(help="车系 / Series.")] = None,
    code: Annotated[str | None, typer.Option(help="故障码 / Fault code, such as P0420.")] = None,
    light: Annotated[str | None, typer.Option(help="指示灯 / Lamp, such as oil_pressure.")] = None,
    lang: LangOption = None,
) -> None:
    """查相似的维修案例。 / Find similar past fixes."""
    language = language_of(lang)
    if (query is None) == (queries is None):
        fail(say("cli.query_or_file", language), status=2)
    from app.advisor import Advisor

    rows = [{"query_id": "", "query": query or ""}] if queries is None else list(_read_queries(queries, language))
    from knowledge.answers import answer

    searcher = Advisor.open().searcher
    failed = False
    for row in rows:
        found = None
        try:
            found = answer(searcher, row["query"], k=k, brand=brand, series=series, code=code, light=light)
        except UserError as error:  # one query that says nothing must not stop the others
            failed = True
            print(error.text.in_(language), file=sys.stderr)
        if as_json:
            from app.report import answer_json

            print_json({**row, **(answer_json(found, language) if found else {"hits": []})})
        elif found:
            _print_answer(found, language, row["query"] if queries else None)
    if failed:
        raise typer.Exit(1)


@app.command()
def web(
    host: Annotated[str | None, typer.Option(help="地址 / Address.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="端口 / Port.")] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="打开浏览器 / Open the browser.")] = False,
    lang: LangOption = None,
) -> None:
    """打开网页。 / Serve the page."""
    from app.advisor import Advisor
    from app.serving.server import serve

    settings = Settings.read()
    language = language_of(lang)

    def ready(address: str) -> None:
        print(say("cli.serving", language, address=address), flush=True)
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    serve(Advisor.open(), host or settings.host, port or settings.port, on_ready=ready)


@app.command()
def bench(
    as_json: JsonOption = False,
    cases: Annotated[int, typer.Option(min=1, help="检索用的案例数 / Cases in the archive that is searched.")] = 10_000,
    photos: Annotated[list[Path] | None, typer.Option(help="照片，可多次 / Photos; repeatable.")] = None,
    lang: LangOption = None,
) -> None:
    """测速度和内存。 / Measure speed and memory on this machine."""
    from app.bench import measure

    figures = measure(photos or [], cases)
    if as_json:
        print_json(figures)
    else:
        from app.report import print_bench

        print_bench(console(), figures, language_of(lang))


@catalogue_app.command("check")
def catalogue_check(lang: LangOption = None) -> None:
    """检查目录文件。 / Check the files that a mechanic may edit."""
    from knowledge.catalogue import load_catalogue

    known = load_catalogue()
    print(
        say(
            "cli.catalogue_good",
            language_of(lang),
            lights=len(known.lights),
            rules=len(known.rules),
            questions=len(known.questions),
        )
    )


def _diagnose_one(
    advisor: Advisor,
    name: str,
    lang: Lang,
    confidence: float | None,
    answers: dict[str, str],
    pictures: _Pictures,
    text: bool,
) -> tuple[Diagnosis, Path | None]:
    from vision.photo import open_photo

    photo = open_photo(Path(name))
    diagnosis = advisor.diagnose(photo, answers=answers, confidence=confidence, name=name, text=text)
    return diagnosis, pictures.write(advisor, diagnosis, photo.rgb, lang)


class _Pictures:
    """Writes annotated pictures into a folder, if one was named."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.taken: set[Path] = set()

    def write(self, advisor: Advisor, diagnosis: Diagnosis, rgb: Rgb, lang: Lang) -> Path | None:
        """Where the picture went. Two photos of this run never share a name: folders repeat each other's."""
        if self.folder is None:
            return None
        stem = Path(diagnosis.photo).stem or "photo"
        names = (f"{stem}{number}-annotated.jpg" for number in chain([""], (f"-{n}" for n in count(2))))
        path = next(path for name in names if (path := self.folder / name) not in self.taken)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            advisor.annotate(diagnosis, rgb, lang).convert("RGB").save(path, "JPEG", quality=90)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise user_error("cli.cannot_write", path=path, error=reason) from error
        self.taken.add(path)
        return path


def _print_answer(answer: Answer, lang: Lang, title: str | None) -> None:
    from app.report import print_answer

    out = console()
    if title is not None:
        out.rule(title)
    print_answer(out, answer, lang)


def _answers(given: list[str], advisor: Advisor, lang: Lang) -> dict[str, str]:
    answers: dict[str, str] = {}
    for pair in given:
        question, equals, answer = (part.strip() for part in pair.partition("="))
        if not equals:
            fail(say("cli.bad_answer", lang, given=pair), status=2)
        known = advisor.questions
        if question not in known or answer not in known[question].choices:
            ways = [f"{question}={key}" for key in known[question].choices] if question in known else list(known)
            fail(say("cli.unknown_answer", lang, given=pair, known=", ".join(ways)), status=2)
        answers[question] = answer
    return answers


def _read_queries(path: Path, lang: Lang) -> Iterator[dict[str, str]]:
    if not path.is_file():
        fail(say("cli.no_file", lang, path=path))
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                yield {"query_id": str(row.get("query_id", number)), "query": str(row["query"])}
            except (ValueError, KeyError, AttributeError):
                fail(say("cli.bad_query_line", lang, path=path, line=number))


def _unexpected(error: Exception) -> UserError:
    return user_error("cli.unexpected", error=type(error).__name__)


if __name__ == "__main__":
    main()
