"""What was done: the words of a fix become operations (an action on a component), so that cases group by the repair.

``knowledge/repairs.yaml`` holds components, actions and all words. The reading is shallow on purpose: sentences, pieces
between commas, and in each piece which components a verb governs; there is no parser behind it.

- Only what was done or is told to be done counts; negated, asked, earlier and fruitless work does not.
- Advice counts less than a statement, a condition less than advice, and what stands in brackets least.
- A word that doesn't tell which part ("the sensor") is the one in the parts column or the one spoken of before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from knowledge.repairs import Lexicon, Token, lexicon, load_repairs
from knowledge.text import LANGS, Text

OTHER = "other"  # the group of cases whose operations are not known
MOST = 6  # operations of one fix; more are a list of everything
DONE, PLAIN, ADVICE, CONDITION, BRACKETS = 3.0, 2.6, 1.3, 0.7, 0.5  # how sure it is that it was done
UNLIKELY = 1.8  # below this it was but a possibility
SOLVED, IN_PARTS, LATER = 1.0, 0.04, 0.11  # "fault gone" after it; in the parts column; per operation before it
SUMMARY, LONG = 0.5, 100  # the last line, where so many characters of talk stand before it
_TO_PARTS = frozenset("replace repair remove tighten reconnect".split())  # what is done to things alone
_FILLED = frozenset("refill bleed inspect change_fluid".split())  # what may be done to a fluid
_BRACKETS = re.compile(r"[(\[【]([^()\[\]【】]*)[)\]】]")
_SENTENCE = re.compile(r"[。;!?\n]+|\.(?=\s|$)|(?<=[\u3400-\u9fff])\.")
_PIECE = re.compile(r"(?<!\d)[,:]|[,:](?!\d)")
_OF_ZH = frozenset("上里内处下外的")
_SHORT = frozenset("不没未无别")  # these negate what follows at once
_OBJECT = frozenset("把将给为对")  # 用诊断仪对节气门做匹配
_ACTS = ("verb", "step")
_IMPLIED = frozenset({"reset", "program", "bleed"})  # without an object they go with what was just worked on
_NO_LIST = frozenset("stop not condition advice skip step verb".split())
_OF_TOPIC = frozenset("replace repair clean adjust reconnect remove lubricate change_fluid charge".split())
_SLIGHT = frozenset({"reset", "bleed", "inspect", "advice_only"})  # what goes along with a repair


class Operation(NamedTuple):
    """One thing that was done, by the ids of repairs.yaml."""

    action: str
    component: str

    @property
    def key(self) -> str:
        """Equal for equal operations, as ``clean:throttle_body``."""
        return f"{self.action}:{self.component}"

    @property
    def text(self) -> Text:
        """For people: 清洗节气门, throttle body cleaned."""
        component, action = load_repairs().components[self.component], load_repairs().actions[self.action]
        if self.action in component.said:
            return component.said[self.action]
        said, name = action.said, component.name
        return Text(zh=said.zh.format(name.zh), en=said.en.format(name.en))


def operations_of(fix: str | Text, parts: str | Text = "") -> tuple[Operation, ...]:
    """What was done, the main operation first; () where nothing is recognised.

    ``parts`` is the parts column: it tells which sensor "the sensor" is, and what was replaced where the fix doesn't.
    """
    scores: dict[Operation, float] = {}
    for lang in LANGS if isinstance(fix, Text) else LANGS[:1]:
        words = fix.in_(lang) if isinstance(fix, Text) else fix
        if isinstance(parts, Text):
            column = parts.in_(lang) if isinstance(fix, Text) else f"{parts.zh}\n{parts.en}"
        else:
            column = parts
        for operation, score in _Reading(lexicon(), column).of(words).items():
            scores[operation] = scores.get(operation, 0) + score
    return tuple(sorted(scores, key=lambda operation: -scores[operation]))[:MOST]


def group_key(operations: Iterable[Operation]) -> str:
    """The key of the main operation, by which cases are grouped; ``other`` if there is none."""
    return next((operation.key for operation in operations), OTHER)


# --- sentences --------------------------------------------------------------------------------------------------------


@dataclass
class _Did:
    operation: Operation
    score: float
    sentence: int
    failed: bool = False


@dataclass
class _Verb:
    """A verb in its piece: how much it counts (0 = not at all), and what it is done to."""

    at: int
    token: Token
    level: float
    objects: list[str] = field(default_factory=list)
    closed: bool = False  # it stands behind its objects, none follow


class _Reading:
    """Reads one text from its beginning to its end."""

    def __init__(self, words: Lexicon, parts: str) -> None:
        self.lexicon, self.components = words, words.repairs.components
        self.did: list[_Did] = []
        self.parts: list[str] = []  # the parts column
        self.hints: list[str] = []  # and what it says besides: "sensor if needed", (or the regulator)
        self.spoken: list[str] = []  # components in the order in which they were spoken of
        self.topic: list[str] = []  # those of the last piece that nothing was done to
        self.last: list[str] = []  # what was worked on last
        self.open: _Verb | None = None  # the verb whose list may go on after a comma
        self.listing: list[str] = []  # what was counted up before its verb
        self.marked = 0  # operations before the last "in vain" or "cured"
        self.sentence, self.level, self.cap = 0, DONE, DONE
        self.nothing, self.verbs, self.unknown, self.summary = False, 0, 0, 0.0
        column = words.plain(parts)
        for piece in re.split(r"[,;\n。]", _BRACKETS.sub("", column)):
            tokens = words.tokens(piece)
            names = self._named(tokens).values()
            self.hints += names
            if not any(token.kind in ("not", "nothing", "condition") for token in tokens):
                self.parts += names
        for match in _BRACKETS.finditer(column):
            self.hints += self._named(words.tokens(match[1])).values()
        self.spoken = []

    def of(self, text: str) -> dict[Operation, float]:
        """All operations with their scores."""
        plain = self.lexicon.plain(text)
        for level, passage in [
            (DONE, _BRACKETS.sub("", plain)),
            *((BRACKETS, match[1]) for match in _BRACKETS.finditer(plain)),
        ]:
            start, summary = 0, passage.rfind("\n")
            for end in [*_SENTENCE.finditer(passage), None]:
                sentence = passage[start : end.start() if end else None]
                self.summary = SUMMARY if LONG < summary <= start else 0.0
                start = end.end() if end else start
                self.sentence, self.level, self.cap, self.open, self.listing = self.sentence + 1, level, level, None, []
                for piece in _PIECE.split(sentence):
                    if tokens := self.lexicon.tokens(piece):
                        self._piece(tokens, asked=bool(end and "?" in end[0]))
        return self._result()

    def _named(self, tokens: list[Token]) -> dict[int, str]:
        """Place -> component. A coil's connector is a connector; a word that tells no part is resolved."""
        found: dict[int, str] = {}
        for at, token in enumerate(tokens):
            if token.kind not in ("component", "loose"):
                continue
            before, latin = at - 1, token.text[0].isascii()
            while before >= 0 and tokens[before].text in _OF_ZH:
                before -= 1
            owner = ""
            if before in found:
                same = before == at - 1 and tokens[before].text[-1].isascii() == latin
                if before < at - 1 or (same and (latin or self.lexicon.is_loose(token))):
                    owner = found.pop(before)
            alone = not owner or self.components[owner].kind in ("general", "small")
            if name := (self._meant(token) if alone else token.value) or owner:
                found[at] = name
                self.spoken.append(name)
        return found

    def _meant(self, token: Token) -> str:
        """The part that a word such as "sensor" stands for, "" if nobody can tell."""
        ends, own = self.lexicon.ends.get(token.text, set()), token.value
        if own in self.hints or not ends:
            return own
        if own == "connector":  # the parts are full of things that are plugged
            ends = {name for name in ends if name.endswith(own)}
        said = self.hints
        if self.lexicon.is_loose(token) and (not own or self.components[own].kind != "small"):
            said = [*self.hints, *reversed(self.spoken)]
        return next((name for name in said if name in ends), own)

    def _piece(self, tokens: list[Token], asked: bool) -> None:
        kinds = [token.kind for token in tokens]
        named = self._named(tokens)
        self.unknown += kinds.count("unknown")
        if "nothing" in kinds and "condition" not in kinds:
            self.nothing, self.open = True, None
            return
        dead = asked or "question" in kinds or "earlier" in kinds
        verbs = [_Verb(at, t, self._level(tokens, at)) for at, t in enumerate(tokens) if t.kind in _ACTS]
        for verb in verbs if dead else ():  # "check whether it leaks" asks, and is told to be done all the same
            if asked or "earlier" in kinds or verb.token.value != "inspect" or "question" in kinds[: verb.at]:
                verb.level = 0.0
        self.verbs += len(verbs)
        first = verbs[0].at if verbs else len(tokens)
        if "condition" in kinds[:first]:
            self.cap = min(self.cap, CONDITION)
        elif "advice" in kinds:
            self.cap = min(self.cap, ADVICE)
        free = self._before(tokens, named, 0, first)
        if verbs:
            free = self._govern(tokens, named, verbs, free)
        if free and self.open and not (verbs and not tokens[0].text.isascii()) and self._is_list(tokens, first):
            self._do(self.open, free)
            named, free = {}, []
        elif free and not verbs and self.open is None and all(name in self.parts for name in free) and not dead:
            self._do(_Verb(0, Token("verb", "replace"), min(PLAIN, self.cap)), free)  # "oil and filter, plugs"
        for verb in verbs:
            self._do(verb, verb.objects)
        self.topic = (free if verbs else list(named.values())) or [
            name for verb in verbs if verb.token.value in ("inspect", "") or not verb.level for name in verb.objects
        ]
        if verbs:
            last, after = verbs[-1], kinds[verbs[-1].at + 1 :]
            goes_on = not {"stop", "condition", "not"}.intersection(after) if last.objects else not after
            self.open = last if goes_on and not last.token.component and not last.closed else None
        elif free:
            self.open = None
        self.listing = self.listing + free if free and not verbs and self._is_list(tokens, first) else []
        self._mark(kinds)

    def _level(self, tokens: list[Token], at: int) -> float:
        """How much the verb at this place counts."""
        token, unknown = tokens[at], 0
        cap, done = self.level, token.done or (at + 1 < len(tokens) and tokens[at + 1].kind == "aspect")
        for back in range(at - 1, -1, -1):
            before = tokens[back]
            if before.kind in _ACTS:
                break
            if before.kind == "not" and unknown <= (2 if before.text in _SHORT else 8):
                return 0.0
            if before.text == "的" and at - back <= 4 and not any(t.kind == "component" for t in tokens[back:at]):
                cap, unknown = min(cap, CONDITION), 9  # 磨损的换
            unknown += (2 if before.text.isascii() else 1) if before.kind == "unknown" else 0
        kinds = {t.kind for t in tokens}
        if "condition" in kinds or (self.cap <= CONDITION):
            return min(cap, self.cap, CONDITION)
        if any(t.kind == "advice" and (t.end <= token.start or t.text[0] in "就即试再") for t in tokens):
            return min(cap, ADVICE)
        return min(cap, DONE) if done else min(cap, self.cap, PLAIN)

    @staticmethod
    def _before(tokens: list[Token], named: dict[int, str], start: int, end: int) -> list[str]:
        found, stopped = [], False
        for at in range(start, end):
            stopped = tokens[at].kind == "stop" or (stopped and tokens[at].text not in _OBJECT)
            if at in named and not stopped:
                found.append(named[at])
        return found

    def _govern(self, tokens: list[Token], named: dict[int, str], verbs: list[_Verb], free: list[str]) -> list[str]:
        """Give each verb its objects; returns the components before the first verb that are none of its."""
        ends = [verb.at for verb in verbs[1:]] + [len(tokens)]
        for verb, end in zip(reversed(verbs), reversed(ends), strict=True):
            verb.objects = self._objects(tokens, named, verb.at, end)
            if verb.objects and verb.at - 1 in named and verb.token.text.isascii() and not verb.token.done:
                verb.level = 0.0  # the valve seals the port: how things work
        own = [verb for verb in verbs if verb.token.kind == "verb" and verb.token.value not in _IMPLIED]
        told = own and own[-1].token.text.isascii() and not own[-1].token.done  # in English no passive
        listed = told and self.open is not None and self._is_list(tokens, verbs[0].at)
        if free and own and not own[-1].objects and not own[-1].token.component and not listed:
            for verb, start in zip(verbs, [0] + [v.at for v in verbs], strict=False):  # 节气门清洗; plugs replaced
                verb.objects = self._before(tokens, named, start, verb.at)
                verb.closed = not verb.token.text.isascii()
            verbs[0].objects, free = self.listing + verbs[0].objects, []  # 节气门, 进气道清洗
        elif free and verbs[0].token.value in _IMPLIED and not verbs[0].objects and not verbs[0].token.component:
            verbs[0].objects, free = free[-1:], []  # 做离合器匹配
        for at in range(len(verbs) - 1, -1, -1):
            verb = verbs[at]
            if verb.token.component:
                verb.objects = [verb.token.component]
            elif not verb.objects and at + 1 < len(verbs):
                between = tokens[verb.at + 1 : verbs[at + 1].at]
                if all(token.kind in ("join", "det", "noise", "aspect") for token in between):
                    verb.objects = list(verbs[at + 1].objects)  # clean or replace the valve
        for verb, previous in zip(verbs, [None, *verbs], strict=False):
            if not verb.objects and verb.token.kind == "verb":
                start = previous.at if previous else 0
                near = self._before(tokens, named, start, verb.at)[-1:] if verb.token.value in _IMPLIED else []
                verb.objects = near or self._implied(verb, previous, tokens)
        return free

    def _objects(self, tokens: list[Token], named: dict[int, str], at: int, end: int) -> list[str]:
        found: list[str] = []
        unknown, skipping = 0, False
        for place in range(at + 1, end):
            token = tokens[place]
            if token.kind in ("stop", "condition", "not"):
                break
            if token.kind == "unknown":
                unknown += 3 if token.text.isascii() else 1
                if unknown > (6 if found else 14):
                    break
            elif token.kind == "det" and unknown >= 3 and found:
                break  # replace the relay and WATCH THE lamp
            elif token.kind == "skip":
                skipping = place > at + 1 or token.text not in ("of", "with")  # filled with coolant
            elif token.kind == "join":
                skipping = False
            if place in named:
                if not skipping:
                    found.append(named[place])
                unknown = 0
        return found

    def _implied(self, verb: _Verb, previous: _Verb | None, tokens: list[Token]) -> list[str]:
        """What a verb without an object is done to: 拆下节气门清洗; the plugs were worn, replaced them."""
        action = verb.token.value
        if action == "bleed":
            return [name for name in reversed(self.spoken) if self.components[name].kind == "fluid"][:1]
        if action in _IMPLIED:
            said = previous.objects if previous and previous.objects else self.last
            return [name for name in said if self.components[name].kind in ("part", "general")][:1]
        if previous and previous.objects and previous.token.value in ("inspect", ""):
            return previous.objects
        it = verb.token.done or any(token.text in ("it", "them") for token in tokens[verb.at + 1 : verb.at + 2])
        if action in _OF_TOPIC and (not verb.token.text.isascii() or it):
            return self.topic
        return []

    @staticmethod
    def _is_list(tokens: list[Token], end: int) -> bool:
        """Whether the piece up to ``end`` goes on with a list: nothing but things, and what they are like."""
        unknown = 0
        for token in tokens[:end]:
            unknown += (3 if token.text.isascii() else 1) if token.kind == "unknown" else 0
            if token.kind in _NO_LIST or unknown > 6 or (unknown and token.kind == "det"):
                return False
        return True

    def _do(self, verb: _Verb, objects: list[str]) -> None:
        book = self.lexicon.repairs
        for name in objects:
            action, component = verb.token.value, name
            kind = self.components[name].kind
            if not action:
                fitted = any(word in verb.token.text for word in ("装", "install"))
                action = ("install" if fitted else "remove") if kind == "add_on" else ""
            action, component = book.meant.get(f"{action} {component}", f"{action} {component}").split(" ")
            if kind == "fluid":
                action = "change_fluid" if action in ("replace", "clean") else action
                action = action if action in _FILLED else ""
            elif action == "change_fluid":
                action = "replace"
            elif component not in book.only.get(action, (component,)) or (kind == "state" and action in _TO_PARTS):
                action = ""
            if action and verb.level:
                weight = book.actions[action].weight * book.kinds[kind]
                score = verb.level + weight + self.summary - LATER * min(len(self.did), 5)
                self.did.append(_Did(Operation(action, component), score, self.sentence))
        if objects and verb.token.value not in ("inspect", "") and verb.level:
            self.last = objects

    def _mark(self, kinds: list[str]) -> None:
        """Take back what was in vain; count more what cured it."""
        if "condition" in kinds or not {"failed", "solved"}.intersection(kinds):
            return
        recent = [did for did in self.did[self.marked :] if did.sentence >= self.sentence - 1]
        same = [did for did in recent if did.sentence == self.sentence] or recent
        if "failed" in kinds:
            for did in same:
                did.failed = True
        elif same:
            same[-1].score += SOLVED
        self.marked = len(self.did)

    def _result(self) -> dict[Operation, float]:
        scores: dict[Operation, float] = {}
        for did in self.did:
            if not did.failed:
                extra = IN_PARTS if did.operation.component in self.parts else 0
                scores[did.operation] = max(scores.get(did.operation, 0), did.score + extra)
        mended = any(
            op.action not in _SLIGHT and score > PLAIN and self.components[op.component].kind != "small"
            for op, score in scores.items()
        )
        if not mended and not self.nothing and not any(did.failed for did in self.did):
            named = [name for name in self.parts if self.components[name].kind not in ("small", "state")]
            listed = self.spoken if not self.verbs and self.unknown <= 3 else []
            for at, name in enumerate(dict.fromkeys(named[:1] or listed)):
                action = "change_fluid" if self.components[name].kind == "fluid" else "replace"
                if self.components[name].kind != "state":
                    scores.setdefault(Operation(action, name), PLAIN + 0.8 - LATER * at)
        if self.nothing and all(score < UNLIKELY or op.action == "inspect" for op, score in scores.items()):
            scores.setdefault(Operation("advice_only", "vehicle"), UNLIKELY)
        if any(op.action not in ("inspect", "reset") for op in scores):
            scores = {op: score for op, score in scores.items() if op.action != "inspect"}
        return scores
