"""The part of the page that packs an accident's photos for police and insurer."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.evidence import Seen, when_of
from app.records.cabinet import Cabinet
from app.texts import say
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    from app.advisor import Advisor
    from app.pages.sitting import Sitting
    from knowledge.playbook import Line

PHOTOS = 12  # in one package: what an accident takes, and a small machine can look at
LINES = 10  # of the checklist that stand ready
SHOWN_SIDE = 900  # pixels of a photo on the page
FIELDS = ("name", "phone", "plate", "licence", "insurer", "policy", "account")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gathered:
    """Photos that wait to be packed, in a drawer of their own; ``sizes`` of the upright photos in pixels."""

    drawer: Path
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Told:
    """What the owner filled in. ``shows``: checklist line -> photo numbers; ``hide``: photo number -> boxes in 0..1."""

    place: str
    when: str
    from_photo: bool
    shows: Mapping[str, Sequence[int]]
    hide: Mapping[int, Sequence[Sequence[float]]]
    parties: tuple[Mapping[str, str], Mapping[str, str]]
    answers: Mapping[str, str]


def looker(advisor: Advisor) -> Callable[[bytes, str, Lang], Seen]:
    """What looks at the photos of a package: the same models as for any photo."""
    from app.diagnosis import marks_of

    def look(data: bytes, name: str, lang: Lang) -> Seen:
        with advisor.turns.photo():
            diagnosis = advisor.diagnose(data, name=name)
        scene = diagnosis.scene
        things: list[Any] = [*(scene.parts if scene else ()), *diagnosis.lamps]
        labels = [
            f"{(thing.light.name if hasattr(thing, 'light') else thing.name).in_(lang)}, "
            f"{say('part.certain', lang, percent=thing.percent)}"
            for thing in things
        ]
        return Seen(
            marks=marks_of(diagnosis, lang),
            labels=labels,
            things=frozenset(diagnosis.findings.labels) if scene else frozenset(),
            severity=scene.relied_severity if scene else None,
        )

    return look


class EvidenceDesk:
    """The events of this part of the page, apart from Gradio's wiring."""

    def __init__(self, advisor: Advisor, cabinet: Cabinet) -> None:
        self.advisor = advisor
        self.cabinet = cabinet

    def gather(self, files: Sequence[str], lang: Lang) -> Gathered:
        """Look at the uploads and put them into a drawer.

        Raises:
            UserError: if one is no photo, or there are too many.
        """
        from vision.photo import open_photo

        if not files:
            raise _error("evidence.no_photos")
        if len(files) > PHOTOS:
            raise _error("evidence.too_many", most=PHOTOS)
        look = looker(self.advisor)
        drawer = self.cabinet.open_drawer()
        names, sizes, seen = [], [], []
        for number, file in enumerate(files, start=1):
            path = Path(file)
            data = path.read_bytes()
            photo = open_photo(data)
            (drawer / f"{number}.photo").write_bytes(data)
            seen.append(look(data, path.name, lang))
            names.append(path.name)
            sizes.append((photo.width, photo.height))
        return Gathered(drawer, tuple(names), tuple(sizes), tuple(seen))

    def checklist(self) -> Sequence[Line]:
        """What should be photographed at an accident."""
        return self.advisor.playbook.photograph[:LINES]

    def gallery(self, gathered: Gathered, lang: Lang) -> str:
        """The photos, small, each a place to draw on what is to be hidden."""
        from PIL import Image

        from vision.photo import open_photo

        cells = []
        for number, name in enumerate(gathered.names, start=1):
            image = Image.fromarray(open_photo((gathered.drawer / f"{number}.photo").read_bytes()).rgb)
            image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=80)
            data = base64.b64encode(buffer.getvalue()).decode()
            cells.append(
                f'<figure class="yc-hide" data-photo="{number}"><img alt="{escape(name)}" draggable="false" '
                f'src="data:image/jpeg;base64,{data}"><figcaption>{number} · {escape(name)}</figcaption></figure>'
            )
        hint = escape(say("evidence.draw", lang))
        return f'<p class="yc-quiet">{hint}</p><div class="yc-gallery">{"".join(cells)}</div>'

    def pack(self, gathered: Gathered, told: Told, lang: Lang) -> str:
        """Write the package; the HTML that tells where it is and what is still missing.

        Raises:
            UserError: if something that was filled in cannot be used, or the photos are gone.
        """
        from app.paper.evidence import Evidence, Exhibit, Party, write_package
        from app.paper.evidence import told as answered
        from knowledge.playbook import SEVERITIES, Scene, advise

        if not gathered.drawer.is_dir():
            raise _error("evidence.gone")
        book = self.advisor.playbook
        severities = [seen.severity for seen in gathered.seen if seen.severity]
        severity = max(severities, key=SEVERITIES.index, default=None)
        answers = {key: value for key, value in told.answers.items() if key in book.questions}
        things = frozenset(thing for seen in gathered.seen for thing in seen.things)
        advice = advise(Scene(things, severity), answers, book)
        # Where taking pictures was dangerous the advice has no list; once all are safe, what is missing counts again.
        checklist = advice.photograph or book.photograph
        exhibits = [
            Exhibit(
                name=name,
                original=(gathered.drawer / f"{number}.photo").read_bytes(),
                marks=seen.marks,
                labels=seen.labels,
                shows=[line.id for line in checklist if number in told.shows.get(line.id, ())],
                hide=[
                    [box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]]
                    for box in told.hide.get(number, ())
                ],
            )
            for number, (name, size, seen) in enumerate(
                zip(gathered.names, gathered.sizes, gathered.seen, strict=True), start=1
            )
        ]
        evidence = Evidence(
            exhibits=exhibits,
            severity=severity,
            when=when_of(told.when),
            place=told.place.strip() or None,
            place_from_photo=told.from_photo,
            checklist=checklist,
            steps=advice.steps,
            answers=answered(answers, book),
            party_a=Party(**told.parties[0]),
            party_b=Party(**told.parties[1]),
        )
        package = write_package(evidence, gathered.drawer / "evidence.zip", lang)
        return self._written(gathered.drawer.name, package.missing, package.no_plates is not None, lang)

    @staticmethod
    def _written(token: str, missing: Sequence[Line], no_plates: bool, lang: Lang) -> str:
        lines = "".join(f"<li>{escape(line.text.in_(lang))}</li>" for line in missing)
        lacking = f"<p>{escape(say('evidence.missing', lang))}</p><ul>{lines}</ul>" if lines else ""
        plates = say("evidence.no_plates" if no_plates else "evidence.look", lang)
        return (
            f'<p><a class="yc-download" href="evidence/{token}" download="evidence.zip">'
            f"{escape(say('evidence.download', lang))}</a></p><p>{escape(plates)}</p>{lacking}"
        )


def hidden_boxes(drawn: str) -> dict[int, list[list[float]]]:
    """What the page's script wrote: photo number -> boxes in 0..1. Whatever else comes is left out."""
    try:
        content = json.loads(drawn or "{}")
    except ValueError:
        return {}
    found: dict[int, list[list[float]]] = {}
    for number, boxes in content.items() if isinstance(content, dict) else ():
        for box in boxes if isinstance(boxes, list) and str(number).isdecimal() else ():
            sound = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
            if sound and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1:
                found.setdefault(int(number), []).append([float(v) for v in box])
    return found


def _error(key: str, **values: object) -> UserError:
    zh, en = (say(key, lang, **values) for lang in LANGS)
    return UserError(zh, en)


class Section:
    """The widgets: photos, what they show, what to hide, time and place, both parties, and the button."""

    def __init__(self, desk: EvidenceDesk) -> None:
        import gradio as gr

        self.desk = desk
        self.gathered = gr.State(None, time_to_live=3600)
        with gr.Accordion(say("evidence.title", "zh"), open=False, visible=False, elem_id="yc-evidence") as self.whole:
            self.intro = gr.HTML(elem_id="yc-evidence-intro")
            self.upload = gr.UploadButton(
                say("evidence.upload", "zh"), file_count="multiple", file_types=["image", ".heic", ".heif"],
                type="filepath", elem_id="yc-evidence-upload",
            )  # fmt: skip
            self.status = gr.HTML(visible=False)
            self.gallery = gr.HTML(elem_id="yc-evidence-photos")
            self.hidden = gr.Textbox("", elem_id="yc-hidden", show_label=False, container=False)
            with gr.Column(visible=False) as self.form:
                self.shows = [gr.CheckboxGroup([], visible=False) for _ in range(LINES)]
                self.place = gr.Textbox(max_length=200)
                self.from_photo = gr.Checkbox(value=False)
                self.when = gr.Textbox(max_length=40, placeholder="2026-11-25T08:30")
                self.parties: list[Any] = []
                self.heads = []
                for _ in range(2):
                    self.heads.append(gr.HTML())
                    self.parties += [gr.Textbox(max_length=500, lines=3 if f == "account" else 1) for f in FIELDS]
                self.button = gr.Button(variant="primary", elem_id="yc-evidence-make")
            self.result = gr.HTML(elem_id="yc-evidence-result")

    @property
    def words(self) -> list[Any]:
        """The widgets whose words change with the language."""
        return [self.whole, self.intro, self.upload, self.place, self.from_photo, self.when, *self.heads,
                *self.parties, self.button]  # fmt: skip

    def spoken(self, lang: Lang) -> dict[Any, Any]:
        """The words of this part in ``lang``."""
        import gradio as gr

        labels = {self.place: "place", self.from_photo: "from_photo", self.when: "when"}
        return {
            self.whole: gr.update(label=say("evidence.title", lang)),
            self.intro: f"<p>{escape(say('evidence.intro', lang))}</p>",
            self.upload: gr.update(label=say("evidence.upload", lang)),
            **{widget: gr.update(label=say(f"evidence.{key}", lang)) for widget, key in labels.items()},
            **{
                h: f"<h3>{escape(say(f'evidence.party_{n}', lang))}</h3>" for h, n in zip(self.heads, "ab", strict=True)
            },
            **{
                widget: gr.update(label=say(f"evidence.{FIELDS[n % len(FIELDS)]}", lang))
                for n, widget in enumerate(self.parties)
            },
            self.button: gr.update(value=say("evidence.make", lang)),
        }

    @property
    def changing(self) -> list[Any]:
        """The part as a whole: it is there for accidents only."""
        return [self.whole]

    def shown(self, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """Whether it is there."""
        import gradio as gr

        accident = sitting is not None and sitting.diagnosis.kind == "accident"
        return {self.whole: gr.update(label=say("evidence.title", lang), visible=accident)}

    def wire(self, language: Any, state: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 - gradio is untyped
        """Hang in the events. ``state``: what holds the owner's answers."""
        import gradio as gr

        def gather(files: list[str] | None, lang: Lang) -> dict[Any, Any]:
            try:
                gathered = self.desk.gather(files or [], lang)
            except UserError as error:
                return {**self._told(error, lang), self.form: gr.update(), self.upload: gr.update(value=None)}
            numbers = [str(n + 1) for n in range(len(gathered.names))]
            lines = self.desk.checklist()
            return {
                self.gathered: gathered,
                self.gallery: self.desk.gallery(gathered, lang),
                self.hidden: "",
                self.form: gr.update(visible=True),
                self.status: gr.update(visible=False),
                self.result: "",
                self.upload: gr.update(value=None),
                **{
                    box: gr.update(visible=True, choices=numbers, value=[], label=lines[n].text.in_(lang))
                    if n < len(lines)
                    else gr.update(visible=False)
                    for n, box in enumerate(self.shows)
                },
            }

        def pack(gathered: Gathered | None, lang: Lang, kept: Any, drawn: str, *given: Any) -> dict[Any, Any]:  # noqa: ANN401
            shown, rest = given[:LINES], given[LINES:]
            told = Told(
                place=rest[0] or "",
                from_photo=bool(rest[1]),
                when=rest[2] or "",
                shows={
                    line.id: [int(number) for number in chosen or []]
                    for line, chosen in zip(self.desk.checklist(), shown, strict=False)
                },
                hide=hidden_boxes(drawn),
                parties=(
                    dict(zip(FIELDS, (v or "" for v in rest[3 : 3 + len(FIELDS)]), strict=True)),
                    dict(zip(FIELDS, (v or "" for v in rest[3 + len(FIELDS) :]), strict=True)),
                ),
                answers=kept.diagnosis.answers if kept is not None else {},
            )
            try:
                if gathered is None:
                    raise _error("evidence.no_photos")
                html = self.desk.pack(gathered, told, lang)
            except UserError as error:
                return self._told(error, lang)
            return {self.result: html, self.status: gr.update(visible=False)}

        self.upload.upload(
            gather, [self.upload, language],
            [self.gathered, self.gallery, self.hidden, self.form, self.status, self.result, self.upload, *self.shows],
            **options,
        ).then(None, None, None, js=DRAW, api_visibility="private")  # fmt: skip
        self.button.click(
            pack,
            [self.gathered, language, state, self.hidden, *self.shows, self.place, self.from_photo, self.when,
             *self.parties],
            [self.result, self.status],
            **options,
        )  # fmt: skip

    def _told(self, error: UserError, lang: Lang) -> dict[Any, Any]:
        import gradio as gr

        html = f'<p class="yc-error" role="alert">{escape(error.text.in_(lang))}</p>'
        return {self.status: gr.update(value=html, visible=True)}


# Rectangles drawn with finger or mouse over the photos; their shares of the picture go into a hidden text field.
DRAW = """() => {
  const field = () => document.querySelector('#yc-hidden textarea, #yc-hidden input');
  const all = {};
  document.querySelectorAll('.yc-hide').forEach(figure => {
    const image = figure.querySelector('img'), number = figure.dataset.photo;
    let start = null, box = null;
    const at = event => { const r = image.getBoundingClientRect();
      return [Math.min(1, Math.max(0, (event.clientX - r.left) / r.width)),
              Math.min(1, Math.max(0, (event.clientY - r.top) / r.height))]; };
    const place = (a, b) => { const [x1, x2] = [a[0], b[0]].sort((p, q) => p - q);
      const [y1, y2] = [a[1], b[1]].sort((p, q) => p - q);
      Object.assign(box.style, {left: x1 * image.clientWidth + 'px', top: y1 * image.clientHeight + 'px',
        width: (x2 - x1) * image.clientWidth + 'px', height: (y2 - y1) * image.clientHeight + 'px'});
      return [x1, y1, x2, y2]; };
    const write = () => { const to = field(); if (!to) return;
      const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(to), 'value').set;
      set.call(to, JSON.stringify(all)); to.dispatchEvent(new Event('input', {bubbles: true})); };
    image.addEventListener('pointerdown', event => { event.preventDefault(); image.setPointerCapture(event.pointerId);
      start = at(event); box = document.createElement('div'); box.className = 'yc-cover'; figure.appendChild(box); });
    image.addEventListener('pointermove', event => { if (start) place(start, at(event)); });
    image.addEventListener('pointerup', event => { if (!start) return; const done = place(start, at(event));
      start = null; if (done[2] - done[0] < 0.01 || done[3] - done[1] < 0.01) { box.remove(); return; }
      (all[number] = all[number] || []).push(done); const made = box;
      made.addEventListener('click', () => { made.remove(); write();
        all[number] = all[number].filter(b => b !== done); write(); });
      write(); });
  });
}"""
