"""Finds and masks what tells who somebody is: telephone numbers, plates, VINs, ids, e-mail addresses, accounts, names.

What a workshop writes is full of numbers that look alike: part numbers, fault codes, mileages, torques. Those stay, for
without them a case is worth nothing. So a number is taken for a personal one only by its shape and its checksum, and
where the shape does not tell, by the word before it (电话, QQ, 零件号).

Decided, and why:

* Of a VIN the first eight signs stay (maker, model, engine); they are those of thousands of cars.
* A family name with a title (王先生, 李师傅, Mr Smith) stays: it tells nobody apart. A whole name is masked only where
  a word says that it is one (姓名：张三, 车主张三反映, customer name: Jane Doe).
* Hotlines (400, 800, 1-800) stay: they are a firm's and help the next reader.
* A bare number of eleven digits that could be a mobile is masked, unless a word before it says part number: BMW's
  13627794646 looks exactly like one, and a masked part number does less harm than a published telephone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from knowledge.case import BILINGUAL, SHORT, Case
from knowledge.lexical import language_of
from knowledge.text import Lang, Text

Kind = Literal["phone", "email", "wechat", "qq", "vin", "plate", "id", "card", "name"]

PLACEHOLDERS: dict[Kind, Text] = {
    "phone": Text(zh="[电话]", en="[phone]"),
    "email": Text(zh="[邮箱]", en="[e-mail]"),
    "wechat": Text(zh="[微信号]", en="[WeChat ID]"),
    "qq": Text(zh="[QQ号]", en="[QQ number]"),
    "vin": Text(zh="[车架号]", en="[VIN]"),  # of its end alone; a whole one keeps its first eight signs
    "plate": Text(zh="[车牌]", en="[plate]"),
    "id": Text(zh="[身份证号]", en="[ID number]"),
    "card": Text(zh="[银行卡号]", en="[card number]"),
    "name": Text(zh="[姓名]", en="[name]"),
}
VIN_KEPT, VIN_MASK = 8, "*" * 9

_HANZI = "\u3400-\u4dbf\u4e00-\u9fff"
_ENDS = r"(?![0-9A-Za-z])"


@dataclass(frozen=True)
class Found:
    """Something personal in a text, from ``start`` to before ``end``."""

    kind: Kind
    start: int
    end: int


def find_personal(text: str) -> list[Found]:
    """What is personal in ``text``, in its order, no two overlapping."""
    plain = _plain(text)
    found: list[Found] = []
    for kind, pattern, is_one in _RULES:
        for match in pattern.finditer(plain):
            start, end = match.span("it")
            overlaps = any(start < other.end and other.start < end for other in found)
            if not overlaps and is_one(match):
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda one: one.start)


def mask(text: str, lang: Lang | None = None) -> tuple[str, tuple[Kind, ...]]:
    """``text`` with placeholders for what is personal, and the kinds of that; masking again changes nothing.

    Args:
        text: any text.
        lang: the language of the placeholders; that of the text if not given.
    """
    lang = lang or language_of(text)
    kinds: dict[Kind, None] = {}
    while found := find_personal(text):  # what stood beside something personal may be seen only when that is gone
        for one in reversed(found):
            text = text[: one.start] + _instead(one.kind, text[one.start : one.end], lang) + text[one.end :]
        kinds |= dict.fromkeys(one.kind for one in found)
    return text, tuple(kinds)


def mask_case(case: Case) -> tuple[Case, tuple[Kind, ...]]:
    """The case with all its words masked, and the kinds that were found; id, lamps and fault codes are left alone.

    What stands in ``vin`` is masked even if it is no whole VIN. The technician in ``entered_by`` stays: the shop wants
    to know whom to ask.
    """
    changed: dict[str, str | Text] = {}
    kinds: dict[Kind, None] = {}
    for name in (*BILINGUAL, *SHORT):
        value: str | Text = getattr(case, name)
        masked, found = _mask_vin(value) if name == "vin" and isinstance(value, str) else _mask_field(value)
        if found:
            changed[name] = masked
            kinds |= dict.fromkeys(found)
    return (case.model_copy(update=changed) if changed else case), tuple(kinds)


def _mask_field(value: str | Text) -> tuple[str | Text, tuple[Kind, ...]]:
    if isinstance(value, str):
        return mask(value)
    (zh, of_zh), (en, of_en) = mask(value.zh, "zh"), mask(value.en, "en")
    return Text(zh=zh, en=en), (*of_zh, *of_en)


def _mask_vin(value: str) -> tuple[str, tuple[Kind, ...]]:
    if not value or value.endswith(VIN_MASK) or value in PLACEHOLDERS["vin"].model_dump().values():
        return value, ()
    return _instead("vin", value, language_of(value)), ("vin",)


def _plain(text: str) -> str:
    """Full-width signs made ordinary ones, each in its place."""
    return text.translate(_ORDINARY)


class _Ordinary(dict[int, str]):
    """For ``str.translate``: each sign in its compatibility form, if that is one sign; worked out when first met."""

    def __missing__(self, code: int) -> str:
        new = unicodedata.normalize("NFKC", chr(code))
        self[code] = new if len(new) == 1 else chr(code)
        return self[code]


_ORDINARY = _Ordinary()


def _instead(kind: Kind, text: str, lang: Lang) -> str:
    if kind == "vin":
        signs = _signs(_plain(text))
        return signs[:VIN_KEPT] + VIN_MASK if len(signs) == len(VIN_MASK) + VIN_KEPT else PLACEHOLDERS[kind].in_(lang)
    return PLACEHOLDERS[kind].in_(lang)


def _signs(text: str) -> str:
    return re.sub(r"[\s\-]", "", text)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _before(match: re.Match[str], signs: int = 16) -> str:
    start = match.start("it")
    return match.string[max(0, start - signs) : start]


def _behind(match: re.Match[str], signs: int = 10) -> str:
    return match.string[match.end("it") : match.end("it") + signs]


# --- telephones ----------------------------------------------------------------------------------------------------

# After these a number is a part's, whatever it looks like.
_OF_PART = re.compile(
    r"(?:零件|配件|备件|部件|物料|件号|料号|图号|订货|编码|型号|单号|版本|软件|硬件|条码|序列|原厂|part|p/n|pn|oem?|serial|s/n|sku|"
    r"order|invoice|software|hardware|bosch|bmw)\s*(?:号码?|编号|no\.?|number|nr\.?|id)?\s*[:：#=是为]?\s*$",
    re.IGNORECASE,
)
_MEASURE = re.compile(r"\s*(?:公里|千米|km\b|元|块钱|万|转|rpm|毫米|mm\b|欧|Ω|ohm|mile|kpa|bar|%)", re.IGNORECASE)
_DATE = re.compile(r"(?:19|20)\d\d[\s\-]?(?:0[1-9]|1[0-2])[\s\-]?(?:0[1-9]|[12]\d|3[01])(?:\D|$)")
_HOTLINE = re.compile(r"(?:1|86)?[48]00\d{7}|1?8(?:88|77|66|55|44|33)\d{7}")
_PHONE_WORD = (
    r"(?:电话|手机|座机|联系方式|联系我|致电|拨打|号码|热线|传真"
    r"|(?<![a-z])(?:tel|phone|mobile|cell|call(?: me)?(?: at| on)?|fax)\.?)\s*(?:号码?|number|no\.?)?\s*[:：是为]?\s*"
)
_CALLED = re.compile(rf"{_PHONE_WORD}(?P<it>\+?\(?\d(?:[\s\-()]{{0,2}}\d){{6,14}})(?![\d.])", re.IGNORECASE)
_MOBILE = re.compile(
    r"(?<![\dA-Za-z.+\-_/])(?P<it>(?:(?:\+|00)?86[\s\-]?)?"
    r"1(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])"
    r"(?:\d{8}|[\s\-]\d{4}[\s\-]\d{4}|\d[\s\-]\d{3}[\s\-]\d{4}))(?![\dA-Za-z_]|[.\-/]\d)"
)
_AREA = r"(?:010|02[0-57-9]|0[3-9]\d\d)"  # 026 is no area; 00 and 01 but for 010 are none either
_LANDLINE = re.compile(
    rf"(?<![\dA-Za-z.+\-_/])(?P<it>(?:\+?86[\s\-]?)?(?:\({_AREA}\)\s?[1-9]\d{{2,3}}[\s\-]?\d{{4}}"
    rf"|{_AREA}(?:\s?[\s\-]\s?[1-9]\d{{2,3}}[\s\-]?\d{{4}}|[2-9]\d{{6,7}}))"
    r"(?:\s?(?:转|-|ext\.?)\s?\d{1,5})?)(?![\dA-Za-z])",
    re.IGNORECASE,
)
_ABROAD = re.compile(
    r"(?<![\dA-Za-z.])(?P<it>\+(?!86)[1-9]\d{0,2}(?:[\s\-]?\(0?\d{1,4}\))?(?:[\s\-.]?\d{2,5}){2,5})(?![\dA-Za-z])"
)
_AMERICAN = re.compile(
    r"(?<![\dA-Za-z.\-/])(?P<it>(?:1[\-. ])?(?:\([2-9]\d\d\)\s?[2-9]\d\d[\-. ]\d{4}"
    r"|[2-9]\d\d(?P<gap>[\-.])[2-9]\d\d(?P=gap)\d{4}))(?![\dA-Za-z]|[\-.]\d)"
)


def _is_phone(match: re.Match[str]) -> bool:
    if _OF_PART.search(_before(match)) or _MEASURE.match(_behind(match)):
        return False
    return not _HOTLINE.fullmatch(_digits(match["it"]))


def _is_called(match: re.Match[str]) -> bool:
    """Whether digits after a word for telephone are a number to call: neither a date nor a hotline."""
    digits = len(_digits(match["it"]))
    return 7 <= digits <= 15 and not _DATE.match(match["it"]) and _is_phone(match)


def _is_abroad(match: re.Match[str]) -> bool:
    """Whether what follows a plus is a number to call: +10 20 30 40 50 are corrections of injectors."""
    return 9 <= len(_digits(match["it"])) <= 15 and re.search(r"\d{3}", match["it"]) is not None and _is_phone(match)


# --- numbers with a checksum or a shape of their own ---------------------------------------------------------------

_EMAIL = re.compile(
    r"(?<![\w.%+\-])(?P<it>[A-Za-z0-9](?:[A-Za-z0-9._%+\-]{0,62}[A-Za-z0-9_])?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62})\.){1,4}[A-Za-z]{2,})",
    re.ASCII,
)
_VIN_SIGN = "[A-HJ-NPR-Z0-9]"
_VIN = re.compile(rf"(?<![0-9A-Za-z*])(?P<it>[1-9A-HJ-NPR-Z]{_VIN_SIGN}{{16}}){_ENDS}", re.IGNORECASE)
_VIN_WORD = r"(?:(?<![a-z])vin|车架|底盘号|大架号|车辆识别(?:代号|代码|号)|chassis)\s*(?:号?码|号|number|no\.?)?\s*"
_VIN_NAMED = re.compile(
    rf"{_VIN_WORD}(?:is|[:：#=是为])?\s*(?P<it>{_VIN_SIGN}(?:[\s\-]?{_VIN_SIGN}){{16}}){_ENDS}", re.IGNORECASE
)
_VIN_END = re.compile(
    rf"{_VIN_WORD}(?:[后尾最]*[六七八678]位数?|last [678])?\s*(?:is|[:：#=是为])?\s*"
    rf"(?P<it>{_VIN_SIGN}{{6,8}})(?![0-9A-Za-z*])",
    re.IGNORECASE,
)
_ID = re.compile(
    rf"(?<![0-9A-Za-z])(?P<it>[1-9]\d{{5}}[\s\-]?(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[\s\-]?\d{{3}}[\dXx])"
    rf"{_ENDS}"
)
_CARD = re.compile(
    r"(?<![\dA-Za-z.\-])(?P<it>(?:62|4\d|5[1-5]|35|95)\d\d(?:[\s\-]?\d{4}){2}[\s\-]?\d{4}(?:[\s\-]?\d{1,3})?)"
    r"(?![\dA-Za-z]|[.\-]\d)"
)


def _is_vin(match: re.Match[str]) -> bool:
    """Whether letters and digits are mixed as in a VIN, whose last four are digits everywhere."""
    signs = _signs(match["it"])
    letters = sum(sign.isalpha() for sign in signs)
    return letters >= 2 and len(signs) - letters >= 5 and signs[-4:].isdecimal()


def _is_vin_end(match: re.Match[str]) -> bool:
    """Whether six to eight signs after 车架号 are the end of one, which the workshop asks for to order parts."""
    return match["it"][-5:].isdecimal()


def _is_id(match: re.Match[str]) -> bool:
    """Whether the checksum of GB 11643 (ISO 7064, MOD 11-2) is right."""
    signs = _signs(match["it"]).upper()
    total = sum(int(sign) * (2 ** (17 - place) % 11) for place, sign in enumerate(signs[:17]))
    return "10X98765432"[total % 11] == signs[17]


def _is_card(match: re.Match[str]) -> bool:
    """Whether the last digit is the one that Luhn's formula asks for."""
    digits = [int(digit) for digit in reversed(_digits(match["it"]))]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0 and not _OF_PART.search(_before(match))


# --- plates --------------------------------------------------------------------------------------------------------

_PLATE_SIGN = "[A-HJ-NP-Z0-9]"
_PLATE = re.compile(
    r"(?P<it>(?P<where>[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼])\s?[A-Z]"
    rf"(?P<gap>[\s·•.\-]{{0,2}})(?P<rest>{_PLATE_SIGN}{{4,6}}[学警挂港澳领]?)){_ENDS}",
    re.IGNORECASE,
)
_PLATE_REST = re.compile(  # six with a letter for the drive (new energy), five, or four and a hanzi
    rf"[A-HJK]{_PLATE_SIGN}\d{{4}}|\d{{5}}[A-HJK]|(?=(?:[A-Z]*\d){{3}}){_PLATE_SIGN}{{5}}|{_PLATE_SIGN}{{4}}[学警挂港澳领]"
)
# With these signs before it a province's sign belongs to another word: 北京BJ2032, 四川SC6371, 全新K50000.
_WORD_BEFORE = {"京": "北南东", "津": "天", "川": "四", "宁": "辽南西", "新": "重更全崭最创", "云": "百青", "吉": "大"}
_PLATE_WORD = re.compile("(?:车牌|牌照|号牌|牌号|车号)[^，。,;；]{0,6}$")


def _is_plate(match: re.Match[str]) -> bool:
    """Whether a province's sign with letters and digits is a plate.

    新 is Xinjiang, and new: 新GLC260, 新 CR2032. Without a dot or a word that says plate it needs four digits in a row.
    """
    if not _PLATE_REST.fullmatch(match["rest"].upper()) or _MEASURE.match(_behind(match)):
        return False
    before = _before(match)
    if _PLATE_WORD.search(before) or any(sign in "·•." for sign in match["gap"]):
        return True
    if before[-1:] and before[-1:] in _WORD_BEFORE.get(match["where"], ""):
        return False
    return match["where"] != "新" or re.fullmatch(r"新[A-Z]\d{4}[A-Z0-9]", match["it"]) is not None


# --- accounts ------------------------------------------------------------------------------------------------------

_WECHAT = re.compile(
    r"(?:(?P<zh>微信|威信|薇信)|(?<![A-Za-z])(?:wechat|weixin|vx|wx))\s*(?P<label>号码?|id|账号|帐号|account)?"
    r"\s*(?P<gap>[:：=是为\s]*)(?P<it>[A-Za-z][A-Za-z0-9_\-]{5,19}|1[3-9]\d{9})(?![A-Za-z0-9_])",
    re.IGNORECASE | re.ASCII,
)
_QQ = re.compile(
    r"(?<![A-Za-z奇瑞小])(?:qq|扣扣|企鹅)\s*(?P<label>群?号?码?)\s*(?P<gap>[:：=是为\s]*)(?P<it>[1-9]\d{4,10})"
    r"(?![\dA-Za-z]|[.\-]\d)",
    re.IGNORECASE,
)
_QQ_DRIVEN = re.compile(r"\s*(?:多|来|几)?(?:公里|千米|km|元|块|万|转|年|款|里程|迈|码)", re.IGNORECASE)


def _is_wechat(match: re.Match[str]) -> bool:
    """Whether letters after 微信 are an account: with a digit in them, or after a colon or a word that says so."""
    if re.search(r"[\d_]", match["it"]):
        return True
    named = match["label"] is not None or match["zh"] is not None
    return named and re.search("[:：=是为]", match["gap"]) is not None


def _is_qq(match: re.Match[str]) -> bool:
    """Whether digits after QQ are an account: the QQ is a car, too, with a mileage."""
    named = bool(match["label"]) or re.search("[:：=是为]", match["gap"]) is not None
    return not _QQ_DRIVEN.match(_behind(match)) and (named or len(match["it"]) >= 6)


# --- names ---------------------------------------------------------------------------------------------------------

_FAMILY = (
    "(?:欧阳|司马|上官|诸葛|司徒|皇甫|尉迟|慕容"
    "|[王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
    "余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文])"
)
_AFTER_NAME = (
    r"(?=$|[\s,，。;；、:：|()（）\[]|先生|女士|小姐|师傅|同志|电话|手机|来电|来店|反映|反应|报修|表示|送修"
    r"|到店|进店|称|说|的车)"
)
_NAME = re.compile(
    r"(?:(?:姓名|名字|联系人|收件人|机主|送修人|报修人)\s*[:：]|(?:车主|客户|司机|驾驶员)(?:姓名|名字)?\s*[:：是]?)\s*"
    rf"(?P<it>{_FAMILY}[{_HANZI}]{{1,2}}){_AFTER_NAME}"
)
_TITLES = (
    "先生",
    "女士",
    "小姐",
    "师傅",
    "老板",
    "经理",
    "老师",
    "主任",
    "总",
    "哥",
    "姐",
    "工",
    "某",
    "叔",
    "姨",
    "姓",
)
# Words after 车主 that begin like a family name.
_VERBS = frozenset("说讲称想要等问看开修换来去用把被就在有是也都")
_NO_NAMES = tuple(
    "高速 高压 高温 高档 高兴 高度 高低 黄色 黄灯 白色 白天 白烟 毛病 毛刺 马上 "
    "马达 马力 马自达 方向 方法 方便 方式 方面 石子 石头 石化 金属 金额 金杯 江淮 "
    "江铃 江西 江苏 万元 万一 万向 常年 常常 常用 常见 易损 易坏 文字 文件 武汉 "
    "任何 任意 何时 何处 何故 何况 程序 程度 林肯 夏天 夏季 余下 余额 于是 于今 "
    "周末 周边 周围 周一 周二 周三 周四 周五 周六 周日 张口 许多 许久 许可 康复 "
    "雷达 雷诺 雷克 钟左 顾虑 顾客 叶子 谢谢 罗列 郑重 郑州 沈阳 苏州 徐州 陆续 "
    "陆地 陆风 杜绝 曾经 胡乱 韩系 熊猫 陈旧 陈述 唐突 段时 钱包 汤水 乔迁 常规 "
    "易于 文明 高尔 秦皇 路上 董事 孔径 任务 温度".split()
)
_NAME_ENGLISH = re.compile(
    r"(?i:\b(?:customer|owner|client|driver|contact)(?:'s)?(?: name)?)\s*[:：]\s*(?:(?:Mr|Mrs|Ms|Dr)\.?\s)?"
    r"(?P<it>[A-Z][a-z]+(?: [A-Z]\.)? [A-Z][a-z]+)(?=\s*(?:$|[\n,.;|(]|(?i:phone|tel|mobile|cell)))"
)
_NO_NAMES_ENGLISH = frozenset(
    "States Stated Reports Reported Complains Says Said Notes Claims Advised Requests Wants Check Engine Brake Oil "
    "Car The Vehicle No New Old Left Right Front Rear Please Service Manual".split()
)


def _is_name(match: re.Match[str]) -> bool:
    name = match["it"]
    return not name[1:].startswith(_TITLES) and not name.startswith(_NO_NAMES) and name[1:] not in _VERBS


def _is_name_english(match: re.Match[str]) -> bool:
    from knowledge.vehicles import names_of

    words = match["it"].split()
    return _NO_NAMES_ENGLISH.isdisjoint(words) and names_of(words[0]) is None


# What may lie on each other is settled by the order: a VIN is looked for before a plate.
_RULES: tuple[tuple[Kind, re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    ("email", _EMAIL, lambda match: True),
    ("vin", _VIN, _is_vin),
    ("vin", _VIN_NAMED, _is_vin),
    ("vin", _VIN_END, _is_vin_end),
    ("id", _ID, _is_id),
    ("card", _CARD, _is_card),
    ("wechat", _WECHAT, _is_wechat),
    ("phone", _MOBILE, _is_phone),
    ("phone", _LANDLINE, _is_phone),
    ("phone", _ABROAD, _is_abroad),
    ("phone", _AMERICAN, _is_phone),
    ("phone", _CALLED, _is_called),
    ("qq", _QQ, _is_qq),
    ("plate", _PLATE, _is_plate),
    ("name", _NAME, _is_name),
    ("name", _NAME_ENGLISH, _is_name_english),
)
