"""The part of the owner's page that keeps an answer: as a PDF, and behind a link that others can open for a while."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from app.pages import fragments
from app.pages.shared_page import PAGE, PDF, shared_html
from app.paper.answer_pdf import answer_pdf
from app.paper.evidence_paper import moment
from app.records.cabinet import Cabinet, new_token
from app.settings import Settings
from app.texts import say
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    from app.pages.sitting import Page, Sitting

LINK_WORDS = ("link", "copy", "copied", "selected", "open", "end", "ended", "not_ended")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Link:
    """One share link; whoever has ``key``, which only the page that made it holds, may end it."""

    token: str
    key: str
    until: datetime


class ReportDesk:
    """The events of this part of the page, apart from Gradio's wiring."""

    def __init__(self, page: Page, cabinet: Cabinet) -> None:
        self.page, self.cabinet = page, cabinet
        self.days = Settings.read().share_days

    def save(self, sitting: Sitting | None, lang: Lang) -> str:
        """Write the PDF; the token by which it can be fetched for an hour.

        Raises:
            UserError: if there is no answer yet, or the report cannot be written.
        """
        there, made = _there(sitting), datetime.now().astimezone()
        return self._written(lambda token: {PDF: answer_pdf(there, self.page, lang, made=made)})

    def share(self, sitting: Sitting | None, lang: Lang) -> Link:
        """Write page and PDF of a share link: words and annotated pictures, never the photos as they came.

        Raises:
            UserError: as `save`.
        """
        there, made = _there(sitting), datetime.now().astimezone()
        until, key = made + timedelta(days=self.days), new_token()

        def files(token: str) -> dict[str, bytes]:
            html = shared_html(there, self.page, lang, made=made, until=until, pdf=f"{token}/{PDF}")
            return {PDF: answer_pdf(there, self.page, lang, made=made), PAGE: html.encode()}

        return Link(self._written(files, until.timestamp(), key), key, until)

    def alive(self, links: Sequence[Link]) -> tuple[Link, ...]:
        """Those that are neither over nor ended."""
        return tuple(link for link in links if self.cabinet.file(link.token, PAGE))

    def _written(self, files: Callable[[str], Mapping[str, bytes]], until: float | None = None, key: str = "") -> str:
        """The token of a drawer with what ``files`` gives for it; none is left behind where that fails."""
        try:
            drawer = self.cabinet.open_drawer(until, key)
            try:
                for name, data in files(drawer.name).items():
                    (drawer / name).write_bytes(data)
            except BaseException:
                shutil.rmtree(drawer, ignore_errors=True)
                raise
        except UserError:
            raise
        except Exception as error:  # the page must answer whatever happens
            log.exception("a report could not be written")
            raise _error("keep.failed") from error
        return drawer.name


def links_html(links: Sequence[Link], lang: Lang) -> str:
    """The share links of a page. Their full addresses are filled in by the browser, which alone knows the server's."""
    rows = []
    for link in links:
        words = {key: escape(say(f"keep.{key}", lang)) for key in LINK_WORDS}
        told = escape(say("keep.until", lang, when=moment(link.until, lang)))
        path = f"shared/{link.token}"
        rows.append(
            f'<div class="yc-link" data-path="{path}" data-key="{link.key}" data-ended="{words["ended"]}" '
            f'data-not-ended="{words["not_ended"]}">'
            f'<input readonly aria-label="{words["link"]}" value="{path}">'
            f'<button type="button" class="yc-copy" data-copied="{words["copied"]}" '
            f'data-selected="{words["selected"]}">{words["copy"]}</button>'
            f'<a href="{path}" target="_blank" rel="noopener noreferrer">{words["open"]}</a>'
            f'<button type="button" class="yc-end">{words["end"]}</button>'
            f'<p class="yc-quiet" role="status">{told}</p></div>'
        )
    return "".join(rows)


def _there(sitting: Sitting | None) -> Sitting:
    if sitting is None:
        raise _error("keep.no_answer")
    return sitting


def _error(key: str) -> UserError:
    zh, en = (say(key, lang) for lang in LANGS)
    return UserError(zh, en)


class ReportSection:
    """The widgets: what this is, two buttons, the saved PDF, the links that this page made."""

    def __init__(self, desk: ReportDesk) -> None:
        import gradio as gr

        self.desk = desk
        self.made = gr.State(())
        self.intro = gr.HTML(elem_id="yc-keep")
        with gr.Row():
            self.save = gr.Button(elem_id="yc-save-report", min_width=160)
            self.share = gr.Button(elem_id="yc-share", min_width=160)
        self.told = gr.HTML(elem_id="yc-kept")
        self.links = gr.HTML(elem_id="yc-links", js_on_load=LINKS)

    @property
    def words(self) -> list[Any]:
        """The widgets whose words change with the language."""
        return [self.intro, self.save, self.share]

    def spoken(self, lang: Lang) -> dict[Any, Any]:
        """The words of this part in ``lang``."""
        title, hint = escape(say("keep.title", lang)), escape(say("keep.hint", lang, days=self.desk.days))
        return {
            self.intro: f'<section><h2>{title}</h2><p class="yc-quiet">{hint}</p></section>',
            self.save: say("keep.save", lang),
            self.share: say("keep.share", lang),
        }

    @property
    def changing(self) -> list[Any]:
        """What was saved is out of date as soon as the answer changes. Links stay: they are out in the world."""
        return [self.told]

    def shown(self, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """Nothing was saved of this answer yet."""
        return {self.told: ""}

    def wire(self, language: Any, state: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 - gradio is untyped
        """Hang in the events. ``state``: what holds the photos and answers."""

        def save(sitting: Sitting | None, lang: Lang) -> str:
            try:
                token = self.desk.save(sitting, lang)
            except UserError as error:
                return fragments.error(error.text.in_(lang))
            words = escape(say("keep.download", lang))
            return f'<p><a class="yc-download" href="report/{token}" download="yangche.pdf">{words}</a></p>'

        def share(sitting: Sitting | None, lang: Lang, links: Sequence[Link]) -> dict[Any, Any]:
            links = self.desk.alive(links)
            try:
                links = (*links, self.desk.share(sitting, lang))
            except UserError as error:
                return {self.told: fragments.error(error.text.in_(lang))}
            return {self.made: links, self.links: links_html(links, lang)}

        def speak(lang: Lang, links: Sequence[Link]) -> str:
            return links_html(self.desk.alive(links), lang)

        self.save.click(save, [state, language], [self.told], **options).then(
            None, None, None, js="() => document.querySelector('#yc-kept a')?.click()", api_visibility="private"
        )
        self.share.click(share, [state, language, self.made], [self.made, self.links, self.told], **options)
        language.input(speak, [language, self.made], [self.links], **options)


# Full addresses; copying, by the clipboard where the browser lends it (https), else by selecting; ending.
LINKS = """
const fill = () => element.querySelectorAll('.yc-link').forEach(row => {
  row.querySelector('input').value = new URL(row.dataset.path, document.baseURI).href; });
const copy = async row => {
  const field = row.querySelector('input'), button = row.querySelector('.yc-copy');
  let done = false;
  try { await navigator.clipboard.writeText(field.value); done = true; }
  catch { field.focus(); field.setSelectionRange(0, field.value.length); done = document.execCommand('copy'); }
  button.textContent = done ? button.dataset.copied : button.dataset.selected;
};
const end = async row => {
  let ended = false;
  try {
    const answer = await fetch(row.dataset.path + '/end', {method: 'POST', headers: {'x-end': row.dataset.key}});
    ended = answer.status === 204 || answer.status === 404;
  } catch { ended = false; }
  const told = row.querySelector('p');
  told.textContent = ended ? row.dataset.ended : row.dataset.notEnded;
  if (ended) row.replaceChildren(told);
};
element.addEventListener('click', event => {
  const row = event.target.closest('.yc-link');
  if (row && event.target.closest('.yc-copy')) copy(row);
  if (row && event.target.closest('.yc-end')) end(row);
});
fill();
watch('value', fill);
"""
