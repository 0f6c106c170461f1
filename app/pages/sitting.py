"""What one open page of the owner does and remembers: photos, their diagnoses, the answers that were given."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from app.advisor import Advisor, Diagnosis
from app.diagnosis import WORST_FIRST
from app.pages import fragments
from app.serving.turns import Busy, Turns
from app.similar import fix_groups
from app.texts import say
from knowledge.text import LANGS, Lang, Text, UserError
from knowledge.vehicles import ANY, Vehicle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

# Long side of the photo on the page: enough to read every mark on a large screen, and a fifth of a megabyte.
SHOWN_SIDE = 1600
# Radio groups that stand ready; a photo that raises more questions shows the most urgent ones.
QUESTIONS = 12
MAX_PHOTOS = 10  # at a time
# The choice that takes an answer back, and the catalogue's own answers that say as much.
NOT_ANSWERED = ""
UNDECIDED = ("not_sure", "not_checked")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answer:
    """One photo's diagnosis, a small copy of the photo, and the questions that were put."""

    diagnosis: Diagnosis
    small: bytes
    asked: tuple[str, ...]
    number: int = 1
    # The whole photo, as long as its words are still to be read.
    unread: NDArray[np.uint8] | None = None

    def put(self, question: str, answer: str, advisor: Advisor) -> Answer:
        """With one question answered (or, by an empty answer, taken back)."""
        answers = {key: value for key, value in self.diagnosis.answers.items() if key != question}
        if answer != NOT_ANSWERED:
            answers[question] = answer
        diagnosis = advisor.rejudge(self.diagnosis, answers)
        return replace(self, diagnosis=diagnosis, asked=_asked(self.asked, diagnosis))


@dataclass(frozen=True, eq=False)
class Sitting:
    """The photos of one upload, at least one, and which of them the page shows."""

    answers: tuple[Answer, ...]
    chosen: int = 0

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Sitting | None:
        """Without whole photos, since pages are left alone at any moment; the worst photo is the one that is shown."""
        if not answers:
            return None
        sitting = cls(tuple(replace(answer, unread=None) for answer in answers))
        return replace(sitting, chosen=sitting.worst)

    @property
    def answer(self) -> Answer:
        """The photo that the page shows."""
        return self.answers[self.chosen]

    @property
    def diagnosis(self) -> Diagnosis:
        """Of the photo that the page shows."""
        return self.answer.diagnosis

    @property
    def small(self) -> bytes:
        """That photo as a JPEG, its long side at most `SHOWN_SIDE` pixels, without its metadata."""
        return self.answer.small

    @property
    def worst(self) -> int:
        """The photo that most needs to be looked at."""
        levels = [WORST_FIRST.index(answer.diagnosis.verdict.level) for answer in self.answers]
        return levels.index(min(levels))

    def choose(self, place: int) -> Sitting:
        """With another photo shown."""
        return replace(self, chosen=min(max(0, place), len(self.answers) - 1))

    def put(self, question: str, answer: str, advisor: Advisor) -> Sitting:
        """With one question answered for every photo that raised it: all are of one car and one day."""
        put = (one.put(question, answer, advisor) if question in one.asked else one for one in self.answers)
        return replace(self, answers=tuple(put))


class Step(NamedTuple):
    """How far an upload is: what is known, why photos could not be answered, and how many are still to be worked on."""

    sitting: Sitting | None
    refused: tuple[Text, ...]
    left: int


class Page:
    """The events of the page, apart from Gradio's wiring."""

    def __init__(self, advisor: Advisor) -> None:
        self.advisor = advisor

    async def look_at_all(self, photos: Sequence[bytes], vehicle: Vehicle = ANY) -> AsyncIterator[Step]:
        """Diagnose an upload photo by photo: lamps first, then the words on the cluster. ``vehicle``: whose they are.

        Yields after each of the two, so that the page never shows less than what is known. Holds no thread while it
        waits for its turn; where too many wait already, that is all it says.
        """
        turns = self.advisor.turns
        try:
            with turns.place():
                async for step in self._in_turn(photos, vehicle, turns):
                    yield step
        except Busy as error:
            yield Step(None, (error.text,), 0)

    async def _in_turn(self, photos: Sequence[bytes], vehicle: Vehicle, turns: Turns) -> AsyncIterator[Step]:
        from starlette.concurrency import run_in_threadpool

        answers: list[Answer] = []
        refused: list[Text] = []
        if len(photos) > MAX_PHOTOS:
            refused.append(_text("page.too_many", most=MAX_PHOTOS))
        photos = photos[:MAX_PHOTOS]
        for number, data in enumerate(photos, 1):
            async with turns.photo_later():
                outcome = await run_in_threadpool(self.look, data, vehicle)
            if isinstance(outcome, UserError):
                refused.append(outcome.text if len(photos) == 1 else _numbered(number, outcome.text))
                continue
            answers.append(replace(outcome, number=number))
            yield Step(Sitting.of(answers), tuple(refused), len(photos) - number + 1)
            async with turns.photo_later():
                answers[-1] = await run_in_threadpool(self.read, answers[-1])
        yield Step(Sitting.of(answers), tuple(refused), 0)

    def look(self, data: bytes | None, vehicle: Vehicle = ANY) -> Answer | UserError:
        """Diagnose an upload. Whatever goes wrong becomes one sentence."""
        from vision.photo import open_photo

        try:
            if not data:
                raise UserError(*_both("page.no_photo"))
            photo = open_photo(data)
            diagnosis = replace(self.advisor.diagnose(photo, name=""), vehicle=vehicle)
            return Answer(diagnosis, _small_jpeg(photo.rgb), _asked((), diagnosis), unread=photo.rgb)
        except UserError as error:
            return error
        except Exception:  # the page must answer whatever a photo does
            log.exception("a photo could not be worked through")
            return UserError(*_both("page.failed"))

    def read(self, answer: Answer) -> Answer:
        """With the words on the cluster; what was seen stands even if they cannot be read."""
        if answer.unread is None:
            return answer
        try:
            diagnosis = self.advisor.read(answer.diagnosis, answer.unread)
        except Exception:  # the lamps' advice must stay whatever the words do
            log.exception("the words of a photo could not be read")
            return replace(answer, unread=None)
        return replace(answer, diagnosis=diagnosis, asked=_asked(answer.asked, diagnosis), unread=None)

    def shown(self, sitting: Sitting, lang: Lang) -> dict[str, str]:
        """The HTML of each part of the answer."""
        return {**self.told(sitting.diagnosis, lang), "picture": self.picture(sitting.answer, lang)}

    def told(self, diagnosis: Diagnosis, lang: Lang) -> dict[str, str]:
        """The parts of the answer that are words."""
        return {
            "banner": fragments.banner(diagnosis, lang),
            "steps": fragments.steps(diagnosis, lang),
            "cards": fragments.cards(diagnosis, lang),
            "fixes": fragments.fixes(fix_groups(self.advisor, diagnosis), diagnosis.no_fixes, lang),
            "limits": fragments.limits(lang),
        }

    def picture(self, answer: Answer, lang: Lang) -> str:
        """The HTML of the annotated photo."""
        return fragments.picture(self.annotated(answer, lang), lang)

    def annotated(self, answer: Answer, lang: Lang) -> Image:
        """The photo with its findings, without its metadata."""
        import numpy as np
        from PIL import Image

        with Image.open(io.BytesIO(answer.small)) as small:
            rgb = np.asarray(small.convert("RGB"))
        return self.advisor.annotate(answer.diagnosis, rgb, lang)

    def photos(self, sitting: Sitting | None, lang: Lang) -> dict[str, Any]:
        """The choice between several photos, each with what it says; nothing where there is only one."""
        if sitting is None or len(sitting.answers) == 1:
            return {"visible": False, "value": None}
        choices = []
        for place, one in enumerate(sitting.answers):
            level = say(f"level.{one.diagnosis.verdict.level}", lang)
            choices.append((f"{say('page.photo_number', lang, number=one.number)} · {level}", place))
        return {"visible": True, "label": say("page.photos", lang), "choices": choices, "value": sitting.chosen}

    def question(self, sitting: Sitting | None, slot: int, lang: Lang) -> dict[str, Any]:
        """The radio group number ``slot``: its words, or nothing."""
        answer = sitting.answer if sitting else None
        if answer is None or slot >= len(answer.asked):
            return {"visible": False, "value": None}
        question = self.advisor.questions[answer.asked[slot]]
        choices = [(words.in_(lang), key) for key, words in question.choices.items()]
        unanswered = question.assumed
        if unanswered not in UNDECIDED:
            unanswered = NOT_ANSWERED
            choices.append((say("page.skip", lang), NOT_ANSWERED))
        return {
            "visible": True,
            "label": question.text.in_(lang),
            "choices": choices,
            "value": answer.diagnosis.answers.get(question.id, unanswered),
        }


def _asked(before: tuple[str, ...], diagnosis: Diagnosis) -> tuple[str, ...]:
    """The questions of a page in a steady order: those that stand there stay where they are."""
    still_open = [question.id for question in diagnosis.verdict.questions]
    kept = [question for question in before if question in still_open or question in diagnosis.answers]
    return tuple(dict.fromkeys([*kept, *still_open]))[:QUESTIONS]


def _small_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(rgb)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _numbered(number: int, text: Text) -> Text:
    zh, en = (say("page.photo_number", lang, number=number) for lang in LANGS)
    return Text(zh=f"{zh}：{text.zh}", en=f"{en}: {text.en}")


def _text(key: str, **values: object) -> Text:
    zh, en = _both(key, **values)
    return Text(zh=zh, en=en)


def _both(key: str, **values: object) -> tuple[str, str]:
    return say(key, "zh", **values), say(key, "en", **values)
