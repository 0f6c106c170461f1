"""What a verdict rests on, and how it is said in both languages, with the words that no data file holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from knowledge.catalogue import Question, Urgency
from knowledge.text import Text, listed
from vision.detections import Color

Level = Literal["stop", "soon", "first", "ok", "unsure"]
Problem = Literal[
    "blurred", "dark", "overexposed", "small", "no_cluster", "no_subject", "nothing_found", "low_confidence"
]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)
FULL = 3  # so many reasons of the worst urgency are told with all their steps
BRIEF = 6  # so many more are told with one line each; the rest are named


class Asked(Protocol):
    """A question as it is put to people. ``assumed``: the answer taken while nobody answers, if there is one."""

    @property
    def id(self) -> str:
        """What answers name it by."""

    @property
    def text(self) -> Text:
        """The question itself."""

    @property
    def choices(self) -> Mapping[str, Text]:
        """Answer id -> the answer as people read it."""

    @property
    def assumed(self) -> str | None:
        """The id of the answer that stands in for a missing one."""


@dataclass(frozen=True)
class Reason:
    """One lamp, or one rule for lamps that mean more together, as it counts in this verdict.

    Attributes:
        kind: "light" (``id`` is the finding's label, ``color`` its colour) or "rule" (``id`` is the rule's).
        urgency: what it counts as, answers and colour taken in.
        now: the steps to take, in order.
        within: how soon; there if ``urgency`` is "soon".
        if_stays: what it means if the lamp stays lit; there if ``urgency`` is "first".
        lights: of a rule: the lit lamps that it speaks for.
        part_of: of a lamp: the id of the rule whose advice stands for it, if there is one.
        questions: what is still open about it.
    """

    kind: Literal["light", "rule"]
    id: str
    color: Color | None
    urgency: Urgency
    name: Text
    meaning: Text
    drive: Text
    now: tuple[Text, ...]
    within: Text | None = None
    if_stays: Text | None = None
    lights: tuple[str, ...] = ()
    part_of: str | None = None
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Doubt:
    """A lamp that may be lit. ``odd``: its colour does not go with its symbol."""

    name: Text
    urgency: Urgency
    odd: bool


HEADLINES: Mapping[Level, Text] = {
    "stop": Text(
        zh="不要继续开：在路上就找安全的地方停车、熄火，开双闪，人到护栏外或路外等；停着就别开走。",
        en="Do not drive on: on the road, stop in a safe place, switch off, hazard lights on, and wait behind the "
        "barrier or off the road; if parked, leave it parked.",
    ),
    "soon": Text(
        zh="可以小心开，只为去把它处理好（多半是去维修厂），不要拖；期限见下面。",
        en="Drive carefully, only to have this put right (mostly at a workshop), and do not put it off; how soon is "
        "said below.",
    ),
    "first": Text(
        zh="先别开走：把下面的事办好，再上路。",
        en="Do not drive off yet: first do what is said below.",
    ),
    "ok": Text(
        zh="照片上没有看到影响行驶的灯。",
        en="Nothing against driving was seen in this photo.",
    ),
    "unsure": Text(
        zh="看不准，还不能说能不能开：停好车，照下面说的再拍一张，别当成没事。",
        en="This photo does not allow an answer: park, take another as said below, and do not read this as an "
        "all-clear.",
    ),
}

# What is wrong with a photo, and what to photograph instead.
PROBLEM_TEXTS: Mapping[Problem, Text] = {
    "nothing_found": Text(
        zh="没有认出亮着的灯，但这不等于没有故障：车停稳，坐在驾驶座上，接通电源或启动车辆，正对整个仪表盘再拍一张。",
        en="No lit lamp was recognised, which does not mean that nothing is wrong: with the car parked, sit in the "
        "driver's seat, switch the ignition on or start the car, and photograph the whole cluster straight on.",
    ),
    "no_cluster": Text(
        zh="照片里没看到仪表盘：坐在驾驶座上，对着方向盘后面，把整个仪表盘拍进画面。",
        en="No instrument cluster is in the picture: from the driver's seat, photograph the whole cluster behind the "
        "steering wheel.",
    ),
    "no_subject": Text(
        zh="照片里既没看到仪表盘，也没看到碰撞或损伤：拍灯，就坐在驾驶座上把整个仪表盘拍进画面；拍损伤，就先离远一点拍整车，"
        "再走近拍坏的地方。",
        en="Neither an instrument cluster nor damage is in the picture: for lamps, photograph the whole cluster from "
        "the driver's seat; for damage, take the whole car from a distance first, then the damaged place up close.",
    ),
    "blurred": Text(
        zh="照片糊了：手机靠在方向盘上拿稳，点一下仪表盘对好焦再拍。",
        en="The photo is blurred: rest the phone on the steering wheel, tap the cluster to focus and hold still.",
    ),
    "dark": Text(
        zh="照片太暗：接通电源让仪表亮起来，对着亮灯点一下对焦，不要开闪光灯，再拍一张。",
        en="The photo is too dark: switch the ignition on so that the cluster lights up, tap a lit lamp to focus, and "
        "take it again without flash.",
    ),
    "overexposed": Text(
        zh="照片太亮或反光：关掉闪光灯，用手或衣服挡住阳光，换个角度再拍。",
        en="The photo is too bright or full of reflections: turn the flash off, shade the cluster from the sun and try "
        "another angle.",
    ),
    "small": Text(
        zh="照片太小，看不清灯：走近些，让仪表盘占满画面，用原图，不要用截图或压缩过的图。",
        en="The photo is too small to tell the lamps: go closer until the cluster fills the picture, and use the "
        "original, not a screenshot or a reduced copy.",
    ),
    "low_confidence": Text(
        zh="有的灯看不清，认不准：靠近亮着的灯，对好焦再拍一张。",
        en="Some lamps are too unclear to name: go closer to the lit lamps, focus and take another photo.",
    ),
}

MAYBE = Text(
    zh="好像还有{names}亮着，看不太清：靠近一点、对好焦再拍一张。",
    en="{names} may be lit as well, but it is not clear: go closer, focus and take another photo.",
)
ODD_NAME = Text(zh="像{name}，但亮的是{color}", en="Looks like {name}, but lit {color}")
ODD = Text(
    zh="{names}：颜色和图案对不上，可能认错了：靠近它再拍一张，并对照用户手册。",
    en="{names}: colour and symbol do not match, so it may be another lamp: photograph it closer and look it up in the "
    "owner's manual.",
)
DANGER = Text(
    zh="这样的灯真亮着就不能开：没弄清之前，先别上路。",
    en="If such a lamp is really lit, the car must not be driven: do not set off until that is clear.",
)

COLOR_NAMES: Mapping[Color, Text] = {
    "red": Text(zh="红色", en="red"),
    "amber": Text(zh="黄色", en="amber"),
    "green": Text(zh="绿色", en="green"),
    "blue": Text(zh="蓝色", en="blue"),
    "white": Text(zh="白色", en="white"),
}

# For a lamp or rule whose urgency is not the one that its entry was written for: an answer or its colour changed it.
DRIVE: Mapping[Urgency, Text] = {
    "stop": Text(zh="现在不能继续开。", en="Do not drive on now."),
    "soon": Text(zh="可以小心开去维修厂。", en="You may drive carefully to a workshop."),
    "first": Text(zh="先办好这件事，再上路。", en="Do this first, then drive off."),
    "ok": Text(zh="不影响行驶。", en="It does not stop you from driving."),
}
STEP: Mapping[Urgency, Text] = {
    "stop": Text(
        zh="找安全的地方停车、熄火，联系救援或维修厂。",
        en="Stop in a safe place, switch off, and call road assistance or a workshop.",
    ),
    "soon": Text(zh="慢点开，直接去维修厂检查。", en="Drive gently, straight to a workshop."),
    "first": Text(
        zh="先对照用户手册弄清这盏灯为什么亮，再上路。",
        en="Before you drive off, find out from the owner's manual why this lamp is lit.",
    ),
    "ok": Text(zh="不用做什么。", en="There is nothing to do."),
}
WITHIN = Text(zh="尽快，最好今明两天", en="as soon as you can, best today or tomorrow")
IF_STAYS = Text(
    zh="办完了灯还亮，就当真有故障：别上路，请维修厂来看。",
    en="If a lamp then stays lit, take it as a real fault: do not drive, and have a workshop look at it.",
)
HOW_SOON = Text(zh="多久内处理？{within}", en="how soon? {within}")
PART_OF = Text(zh="见“{rule}”：这盏灯现在不单独算。", en="See “{rule}”: this lamp does not count by itself now.")
BRIEFLY = Text(zh="同时亮着：{names}", en="Also lit: {names}")
NORMAL = Text(zh="{names}：属于正常指示", en="{names}: normal indications")


def lines(
    level: Level, reasons: Sequence[Reason], doubts: Sequence[Doubt], problems: Sequence[Problem]
) -> tuple[Text, ...]:
    """The lines of advice, headline first; where nothing is sure, what to photograph comes before what was seen."""
    photo = [PROBLEM_TEXTS[problem] for problem in problems if not (problem == "low_confidence" and doubts)]
    if faint := [doubt.name for doubt in doubts if not doubt.odd]:
        photo.append(fill(MAYBE, names=named(faint)))
    if odd := [doubt.name for doubt in doubts if doubt.odd]:
        photo.append(fill(ODD, names=named(odd)))
    if level != "stop" and any(doubt.urgency == "stop" for doubt in doubts):
        photo.append(DANGER)
    seen = _told(reasons)
    return tuple(dict.fromkeys([HEADLINES[level], *(photo + seen if level == "unsure" else seen + photo)]))


def _told(reasons: Sequence[Reason]) -> list[Text]:
    """What was seen and what to do: in full for the first of the worst urgency, ever shorter after that."""
    own = [reason for reason in reasons if reason.part_of is None]
    full = [reason for reason in own if reason.urgency == own[0].urgency][:FULL]
    told: list[Text] = []
    for reason in full:
        told += [titled(reason.name, reason.meaning, reason.drive), *reason.now]
        if reason.within is not None:
            told.append(titled(reason.name, fill(HOW_SOON, within=reason.within)))
        if reason.if_stays is not None:
            told.append(titled(reason.name, reason.if_stays))
    rest = own[len(full) :]
    worse = [reason for reason in rest if reason.urgency != "ok"]
    for reason in worse[:BRIEF]:
        # A general sentence about driving says nothing without the steps that it announces.
        steps = reason.now if reason.drive in DRIVE.values() else ()
        told.append(titled(reason.name, reason.drive, *steps))
    if len(worse) > BRIEF:
        told.append(sentences(fill(BRIEFLY, names=named(reason.name for reason in worse[BRIEF:]))))
    if normal := [reason.name for reason in rest if reason.urgency == "ok"]:
        told.append(sentences(fill(NORMAL, names=named(normal))))
    return told


def named(names: Iterable[Text]) -> Text:
    """The names in one list, each once."""
    once = list(dict.fromkeys(names))
    return Text(zh=listed((name.zh for name in once), "zh"), en=listed((name.en for name in once), "en"))


def fill(pattern: Text, **places: Text) -> Text:
    """``pattern`` with its ``{place}`` filled in, each language with its own words."""
    return Text(
        zh=pattern.zh.format(**{place: words.zh for place, words in places.items()}),
        en=pattern.en.format(**{place: words.en for place, words in places.items()}),
    )


def sentences(*parts: Text) -> Text:
    """The parts as one line of whole sentences."""
    return Text(
        zh="".join(_ended(part.zh, "。", "。！？：；…") for part in parts),
        en=" ".join(_ended(part.en, ".", ".!?:;…") for part in parts),
    )


def titled(name: Text, *parts: Text) -> Text:
    """``name: parts`` as one line."""
    return sentences(Text(zh=f"{name.zh}：{parts[0].zh}", en=f"{name.en}: {parts[0].en}"), *parts[1:])


def _ended(words: str, stop: str, stops: str) -> str:
    return words if words[-1] in stops else words + stop
