"""The Advisor: from findings to a diagnosis. The detector is told what to see; everything behind it is real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.advisor import Advisor, error_json
from knowledge.text import LANGS
from vision.detections import Detection, Detections
from vision.detector import FakeDetector
from vision.photo import Photo, PhotoError
from vision.reading import FakeReader, ReadingError, TextLine
from vision.whole import FakeWholePhoto

KEYS = ["photo", "kind", "findings", "severity", "verdict", "advice", "fixes", "messages", "mileage_km", "error"]


def seen(label: str, confidence: float = 0.9, color: str | None = None, at: int = 0) -> Detection:
    """A finding; ``at`` counts places along a row."""
    return Detection(label, (100.0 + 60 * at, 200.0, 140.0 + 60 * at, 240.0), confidence, color)


@pytest.fixture
def photo() -> Photo:
    """A sharp, well exposed picture, 1280 x 720 pixels, with no coloured light in it; black at the lower right."""
    rng = np.random.default_rng(7)
    blocks = rng.integers(30, 220, (90, 160, 1), np.uint8)
    blocks[50:, 100:] = 0
    return Photo(np.ascontiguousarray(np.kron(blocks, np.ones((8, 8, 3), np.uint8))), "test.png")


@pytest.fixture
def advise(home, photo):
    """Diagnoses the test photo with a detector that sees what it is told."""

    def diagnose(*findings: Detection, **options: object):
        advisor = Advisor.open(home, whole=FakeWholePhoto(), detector=FakeDetector(Detections.of(findings)))
        return advisor.diagnose(photo, **options)

    return diagnose


@pytest.mark.parametrize(
    ("findings", "kind", "level"),
    [
        ([], "dashboard", "unsure"),
        ([seen("cluster")], "dashboard", "unsure"),
        ([seen("cluster", 0.1)], "dashboard", "unsure"),
        ([seen("oil_pressure", color="red")], "dashboard", "stop"),
        ([seen("oil_pressure", 0.2, "red")], "dashboard", "unsure"),
        ([seen("check_engine", color="amber"), seen("oil_pressure", color="red", at=1)], "dashboard", "stop"),
        ([seen("turn_signal", color="green"), seen("cluster", at=3)], "dashboard", "ok"),
        # A doubt that could be worse takes the "ok" away, and never the "stop".
        ([seen("turn_signal", color="green"), seen("oil_pressure", 0.2, "red", at=1)], "dashboard", "unsure"),
        ([seen("oil_pressure", color="red"), seen("abs", 0.2, "amber", at=1)], "dashboard", "stop"),
    ],
)
def test_kind_and_verdict(advise, findings, kind, level):
    diagnosis = advise(*findings)
    assert (diagnosis.kind, diagnosis.verdict.level) == (kind, level)
    assert "cluster" not in diagnosis.findings.labels


@pytest.mark.parametrize(
    ("confidence", "place", "doubts"),
    [(0.2, 1, 1), (0.09, 1, 0), (0.2, 0, 0)],
    ids=["beside", "too weak", "a second name for the same pictogram"],
)
def test_what_counts_as_a_doubt(advise, confidence, place, doubts):
    diagnosis = advise(seen("turn_signal", color="green"), seen("hazard", confidence, "red", at=place))
    assert len(diagnosis.doubtful) == doubts


def test_confidence_lists_more_and_decides_nothing(advise):
    findings = [
        seen("turn_signal", color="green"),
        seen("abs", 0.02, "amber", at=1),
        seen("airbag", 0.005, "red", at=2),
    ]
    plain, listed = advise(*findings), advise(*findings, confidence=0.01)
    assert plain.listed.labels == ("turn_signal",)
    assert listed.listed.labels == ("turn_signal", "abs")
    assert advise(*findings, confidence=0.95).listed.labels == ()
    assert listed.verdict == plain.verdict
    assert [hit.case.case_id for hit in listed.fixes] == [hit.case.case_id for hit in plain.fixes]


def test_a_colour_that_pixels_do_not_tell_is_the_usual_one(advise):
    in_the_dark = Detection("oil_pressure", (1000.0, 550.0, 1040.0, 590.0), 0.9)
    assert advise(in_the_dark).findings.colors == ("red",)


def test_lamps_are_numbered_worst_first_and_twins_share_a_number(advise):
    diagnosis = advise(
        seen("turn_signal", 0.95, "green"),
        seen("turn_signal", 0.9, "green", at=1),
        seen("oil_pressure", 0.8, "red", at=2),
    )
    assert [(lamp.number, lamp.light.id, len(lamp.boxes)) for lamp in diagnosis.lamps] == [
        (1, "oil_pressure", 1),
        (2, "turn_signal", 2),
    ]


def test_fixes_are_of_the_lamps_that_need_one(advise):
    diagnosis = advise(seen("oil_pressure", color="red"), seen("turn_signal", color="green", at=1))
    assert diagnosis.fixes
    assert all("oil_pressure" in hit.case.lights for hit in diagnosis.fixes)
    assert advise(seen("turn_signal", color="green")).fixes == ()


def test_a_broken_archive_keeps_no_advice_back(photo, tmp_path):
    blocked = tmp_path / "home"
    blocked.write_text("a file where the folder should be")
    advisor = Advisor.open(
        blocked, whole=FakeWholePhoto(), detector=FakeDetector(Detections.of([seen("oil_pressure", color="red")]))
    )
    diagnosis = advisor.diagnose(photo)
    assert diagnosis.verdict.level == "stop"
    assert diagnosis.fixes == ()
    assert diagnosis.no_fixes is not None


def test_answers_change_the_advice_without_another_look(home, photo):
    class Counting(FakeDetector):
        looks = 0

        def detect(self, rgb, floor=0.01):
            self.looks += 1
            return super().detect(rgb, floor)

    detector = Counting(Detections.of([seen("check_engine", color="amber")]))
    advisor = Advisor.open(home, whole=FakeWholePhoto(), detector=detector)
    before = advisor.diagnose(photo)
    (question, *_) = before.verdict.questions
    verdicts = {key: advisor.rejudge(before, {question.id: key}).verdict for key in question.answers}
    assert len({verdict.advice for verdict in verdicts.values()}) > 1
    assert all(question.id not in [q.id for q in verdict.questions] for verdict in verdicts.values())
    assert advisor.rejudge(before, {"no_such_question": "yes", question.id: "no such answer"}).verdict == before.verdict
    assert advisor.diagnose(photo, answers={question.id: question.assumed}).answers == {question.id: question.assumed}
    assert detector.looks == 2


@pytest.mark.parametrize("lang", LANGS)
def test_json_is_as_the_contract_spells_it(advise, lang):
    line = advise(seen("oil_pressure", 0.93, "red"), name="given/as is.jpg").to_json(lang)
    assert list(line) == KEYS
    assert line["photo"] == "given/as is.jpg"
    assert line["findings"] == [
        {"label": "oil_pressure", "box": [100.0, 200.0, 140.0, 240.0], "confidence": 0.93, "color": "red"}
    ]
    assert line["severity"] is None
    assert line["error"] is None
    assert all(isinstance(sentence, str) and sentence for sentence in line["advice"])
    assert all(set(fix) == {"case_id", "score"} and 0 <= fix["score"] <= 1 for fix in line["fixes"])
    json.dumps(line)


def test_the_line_of_a_failed_photo():
    line = error_json("x.jpg", PhotoError("坏了。", "Broken."), "en")
    assert list(line) == KEYS
    assert line == {**dict.fromkeys(KEYS), "photo": "x.jpg", "kind": "other", "findings": [], "fixes": []} | {
        "messages": [],
        "verdict": "unsure",
        "advice": ["Broken."],
        "error": "Broken.",
    }


def test_annotating_scales_to_a_smaller_copy(advise, home, photo):
    diagnosis = advise(seen("oil_pressure", color="red"))
    small = np.ascontiguousarray(photo.rgb[::2, ::2])
    drawn = np.asarray(Advisor.open(home).annotate(diagnosis, small).convert("RGB"))
    assert drawn.shape == small.shape
    changed = np.argwhere((drawn != small).any(axis=2))
    assert len(changed)
    # The box lies at 50..70, 100..120 in the copy; its caption stands close by.
    assert abs(np.median(changed[:, 0]) - 110) < 60


def test_the_photo_is_named_as_given(home, tmp_path, photo):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(photo.rgb).save(path)
    advisor = Advisor.open(home, whole=FakeWholePhoto(), detector=FakeDetector(Detections.empty()))
    assert advisor.diagnose(str(path)).photo == str(path)
    assert advisor.diagnose(Path(path)).photo == str(path)
    assert advisor.diagnose(path.read_bytes()).photo == ""
    assert (advisor.diagnose(path).width, advisor.diagnose(path).height) == (1280, 720)


CLUSTER_SEEN = Detection("cluster", (50.0, 100.0, 1200.0, 700.0), 0.9)


def line(text: str, color: str | None = None, at: int = 0) -> TextLine:
    """A line of text; ``at`` counts places down a column."""
    return TextLine(text, (300.0, 300.0 + 90 * at, 420.0, 324.0 + 90 * at), 0.97, color)


@pytest.fixture
def told(home, photo):
    """Diagnoses the test photo with a detector and a reader that say what they are told."""

    def diagnose(findings: list[Detection], lines: list[TextLine], **options: object):
        detector = FakeDetector(Detections.of([CLUSTER_SEEN, *findings]))
        advisor = Advisor.open(home, whole=FakeWholePhoto(), detector=detector, reader=FakeReader(tuple(lines)))
        return advisor.diagnose(photo, text=True, **options)

    return diagnose


@pytest.mark.parametrize(
    ("lines", "labels", "level"),
    [
        ([], (), "unsure"),
        ([line("BRAKE", "red")], ("brake_system",), "stop"),
        ([line("EPS", "amber")], ("power_steering",), "soon"),
        ([line("BRAKE", "white")], (), "unsure"),  # printed, not lit
        ([line("120", "red"), line("km/h", "red", 1)], (), "unsure"),  # numerals are no lamps
    ],
)
def test_lit_words_are_findings(told, lines, labels, level):
    diagnosis = told([], lines)
    assert diagnosis.text_read
    assert diagnosis.findings.labels == labels
    assert diagnosis.verdict.level == level


@pytest.mark.parametrize(
    ("text", "light", "level"),
    [
        ("Brake system problem. See your dealer.", "brake_system", "stop"),
        ("请检查发动机", "check_engine", "soon"),
        ("Not Ready to Drive", None, "unsure"),
    ],
)
def test_messages_count_for_the_verdict_and_are_no_findings(told, text, light, level):
    diagnosis = told([], [line(text, "white")])
    assert [(message.text, message.light) for message in diagnosis.messages] == [(text, light)]
    assert diagnosis.verdict.level == level
    assert diagnosis.to_json()["findings"] == []
    assert diagnosis.to_json()["messages"][0]["label"] == light
    assert [lamp.light.id for lamp in diagnosis.lamps] == ([light] if light else [])


def test_a_message_never_doubles_a_lamp_that_was_seen(told):
    diagnosis = told([seen("check_engine", color="amber")], [line("请检查发动机", "white")])
    assert [lamp.light.id for lamp in diagnosis.lamps] == ["check_engine"]


def test_words_keep_the_answers_given_and_the_list_asked_for(told):
    answers = {"parking_brake_applied": "released_goes_out"}
    weak = [seen("parking_brake", color="red"), seen("abs", 0.02, "amber", at=1)]
    diagnosis = told(weak, [line("ODO 43210 km")], answers=answers, confidence=0.01)
    assert diagnosis.answers == answers
    assert set(diagnosis.listed.labels) == {"parking_brake", "abs"}
    assert diagnosis.mileage_km == 43210
    assert diagnosis.to_json()["mileage_km"] == 43210


def test_without_a_reader_the_lamps_advice_stands(home, photo):
    class Broken(FakeReader):
        def read(self, rgb, region=None, spots=()):
            raise ReadingError("读不了文字。", "No text.")

    detector = FakeDetector(Detections.of([CLUSTER_SEEN, seen("oil_pressure", color="red")]))
    diagnosis = Advisor.open(home, whole=FakeWholePhoto(), detector=detector, reader=Broken()).diagnose(
        photo, text=True
    )
    assert diagnosis.verdict.level == "stop"
    assert not diagnosis.text_read
    assert diagnosis.no_text is not None
