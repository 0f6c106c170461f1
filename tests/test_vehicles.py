"""Brands and series however they are written, and the car that an owner's words name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.text import Text
from knowledge.vehicle_table import PATH, vehicle_table
from knowledge.vehicles import Vehicle, brand_key, find_vehicle, names_of, names_of_series, plain_key, series_key
from training.vehicles import build, read_aliases

SAME_BRANDS = [
    "大众 VW Volkswagen 上汽大众 一汽大众 一汽-大众 上海大众 大众汽车 进口大众 ＶＷ",
    "奔驰 Benz Mercedes Mercedes-Benz mercedesbenz 梅赛德斯-奔驰 北京奔驰",
    "宝马 BMW 华晨宝马 bmw",
    "比亚迪 BYD byd 比亚迪汽车",
    "日产 尼桑 Nissan 东风日产 NISSAN",
    "丰田 Toyota 一汽丰田 广汽丰田",
    "本田 Honda 广汽本田 东风本田",
    "雪佛兰 雪弗兰 Chevrolet Chevy 上汽通用雪佛兰",
    "凯迪拉克 Cadillac 卡迪拉克",
    "现代 北京现代 Hyundai",
    "吉利汽车 吉利 Geely",
    "五菱汽车 五菱 Wuling 上汽通用五菱",
    "哈弗 Haval 哈佛 长城哈弗",
    "长安 Changan 长安汽车",
    "奇瑞 Chery 奇瑞汽车",
    "雪铁龙 Citroën Citroen 东风雪铁龙",
    "斯柯达 Skoda Škoda",
    "阿尔法·罗密欧 阿尔法罗密欧 Alfa-Romeo",
    "路虎 Land-Rover LandRover",
    "上汽大通MAXUS 上汽大通 Maxus",
    "SWM斯威汽车 SWM 斯威",
    "北汽昌河 昌河 昌河汽车",
]
SAME_SERIES = [  # (brand, series) = (brand, series)
    (("大众", "帕萨特"), ("VW", "Passat")),
    (("大众", "帕萨特"), ("", "大众帕萨特")),
    (("大众", "帕萨特"), ("上汽大众", "新帕萨特")),
    (("大众", "帕萨特"), ("", "帕萨特 1.8T")),
    (("大众", "帕萨特"), ("", "2015款 帕萨特")),
    (("大众", "帕萨特PHEV"), ("Volkswagen", "Passat PHEV")),
    (("大众", "速腾"), ("", "Sagitar")),
    (("大众", "朗逸"), ("", "Lavida")),
    (("大众", "Polo"), ("", "新POLO")),
    (("大众", "C-TREK蔚领"), ("大众", "蔚领")),
    (("大众", "宝来/宝来经典"), ("大众", "宝来")),
    (("大众", "桑塔纳·浩纳"), ("", "桑塔纳浩纳")),
    (("大众", "捷达"), ("VW", "Jetta")),
    (("丰田", "卡罗拉"), ("Toyota", "Corolla")),
    (("丰田", "卡罗拉"), ("丰田", "花冠")),
    (("丰田", "凯美瑞"), ("", "Camry")),
    (("丰田", "凯美瑞(进口)"), ("", "Toyota Camry")),
    (("丰田", "RAV4荣放"), ("", "RAV4")),
    (("丰田", "兰德酷路泽"), ("", "Land Cruiser")),
    (("丰田", "YARiS L 致炫"), ("丰田", "致炫")),
    (("本田", "雅阁"), ("Honda", "Accord")),
    (("本田", "思域"), ("", "CIVIC")),
    (("本田", "飞度"), ("本田", "Fit")),
    (("本田", "飞度"), ("Honda", "Jazz")),
    (("本田", "本田CR-V"), ("", "CRV")),
    (("日产", "轩逸"), ("Nissan", "Sylphy")),
    (("日产", "骐达"), ("日产", "骐达TIIDA")),
    (("日产", "LANNIA 蓝鸟"), ("日产", "蓝鸟")),
    (("日产", "奇骏"), ("", "X-Trail")),
    (("奔驰", "奔驰GL级"), ("", "GL级")),
    (("奔驰", "奔驰GL级"), ("Mercedes-Benz", "GL-Class")),
    (("奔驰", "奔驰CLS级"), ("奔驰", "CLS")),
    (("奔驰", "奔驰C级(进口)"), ("奔驰", "C200L")),
    (("奔驰", "奔驰M级"), ("奔驰", "ML350")),
    (("奔驰", "威霆(进口)"), ("Benz", "Vito")),
    (("宝马", "宝马3系"), ("", "BMW 3 Series")),
    (("宝马", "宝马3系"), ("", "3系")),
    (("宝马", "宝马3系"), ("宝马", "320Li")),
    (("宝马", "5系"), ("BMW", "五系")),
    (("宝马", "宝马X5"), ("BMW", "x5")),
    (("奥迪", "奥迪A6L"), ("", "A6L")),
    (("奥迪", "奥迪A4(进口)"), ("Audi", "a4")),
    (("别克", "凯越"), ("Buick", "Excelle")),
    (("别克", "君威(海外)"), ("", "Regal")),
    (("雪佛兰", "科鲁兹"), ("Chevy", "Cruze")),
    (("雪佛兰", "探界者"), ("", "Chevrolet Equinox")),
    (("福特", "福克斯"), ("Ford", "Focus")),
    (("福特", "蒙迪欧致胜"), ("", "蒙迪欧-致胜")),
    (("福特", "F-150"), ("", "F150")),
    (("马自达", "马自达3 Axela昂克赛拉"), ("", "昂克赛拉")),
    (("马自达", "6"), ("", "Mazda 6")),
    (("现代", "北京现代ix35"), ("", "ix35")),
    (("现代", "全新胜达"), ("Hyundai", "Santa Fe")),
    (("现代", "伊兰特"), ("", "Elantra")),
    (("起亚", "K3"), ("", "起亚K3")),
    (("标致", "408"), ("", "Peugeot 408")),
    (("雪铁龙", "C4世嘉"), ("雪铁龙", "世嘉")),
    (("五菱汽车", "五菱宏光S"), ("五菱", "宏光S")),
    (("吉利汽车", "帝豪EC7"), ("吉利", "帝豪")),
    (("长安", "悦翔三厢"), ("长安", "悦翔")),
    (("长安欧尚", "长安CX70"), ("长安", "CX70")),
    (("东风风光", "东风风光330"), ("东风风光", "风光330")),
    (("汉腾汽车", "X5"), ("", "汉腾X5")),
    (("观致", "观致3都市SUV"), ("Qoros", "3")),
    (("荣威", "荣威RX5新能源"), ("荣威", "eRX5")),
    (("阿尔法·罗密欧", "Stelvio"), ("", "Stelvio斯坦维")),
    (("昌河", "昌河Q35"), ("北汽昌河", "Q35")),
    (("Jeep", "大切诺基"), ("", "Jeep Grand Cherokee")),
    (("斯巴鲁", "森林人"), ("Subaru", "Forester")),
    (("特斯拉", "Model 3"), ("Tesla", "model3")),
]
DIFFERENT_BRANDS = [
    ("大众", "奥迪"),
    ("长安", "长安欧尚"),
    ("长城", "哈弗"),
    ("本田", "丰田"),
    ("比亚迪", "吉利"),
    ("东风", "东风风神"),
    ("北京现代", "北京汽车"),
    ("捷豹", "路虎"),
    ("上汽大众", "上汽大通"),
    ("MINI", "宝马"),
]
DIFFERENT_SERIES = [
    (("大众", "帕萨特"), ("大众", "帕萨特PHEV")),
    (("大众", "途观"), ("大众", "途观L")),
    (("大众", "朗逸"), ("大众", "速腾")),
    (("大众", "CC"), ("北京汽车", "绅宝CC")),
    (("大众", "捷达"), ("捷达", "VS5")),
    (("奥迪", "A4"), ("奥迪", "A4L")),
    (("奥迪", "A6"), ("北汽昌河", "A6")),
    (("宝马", "X5"), ("北京汽车", "X5")),
    (("宝马", "X5"), ("汉腾", "X5")),
    (("宝马", "3系"), ("宝马", "5系")),
    (("宝马", "3系"), ("宝马", "3系GT")),
    (("奔驰", "GL级"), ("奔驰", "GLK级")),
    (("奔驰", "C级"), ("奔驰", "CLS级")),
    (("奔驰", "S级"), ("奔驰", "迈巴赫S级")),
    (("马自达", "6"), ("名爵", "6")),
    (("标致", "2008"), ("众泰", "2008")),
    (("标致", "408"), ("标致", "308")),
    (("标致", "508"), ("标致", "508L")),
    (("日产", "蓝鸟"), ("日产", "蓝鸟经典")),
    (("日产", "轩逸"), ("日产", "轩逸·纯电")),
    (("起亚", "K3"), ("江淮", "K3")),
    (("奇瑞", "瑞虎3"), ("奇瑞", "瑞虎3x")),
    (("奇瑞", "瑞虎3"), ("奇瑞", "瑞虎5")),
    (("五菱", "宏光"), ("五菱", "宏光S")),
    (("比亚迪", "秦"), ("比亚迪", "秦PLUS EV")),
    (("比亚迪", "海狮"), ("金杯", "海狮")),
    (("本田", "锋范"), ("本田", "锋范经典")),
    (("现代", "索纳塔"), ("现代", "索纳塔八")),
    (("路虎", "发现"), ("路虎", "发现神行")),
    (("别克", "昂科拉"), ("别克", "昂科拉GX")),
    (("雷诺", "风景"), ("福田", "风景")),
    (("哈弗", "H6"), ("哈弗", "H6 Coupe")),
]
FOUND = [
    ("08年凯越", "别克", "凯越", 2008),
    ("我的 2015款 帕萨特 1.8T", "大众", "帕萨特", 2015),
    ("2012 Honda Civic", "本田", "思域", 2012),
    ("大师，2012年现代悦动，6万公里，昨天abs灯亮了", "现代", "悦动", 2012),
    ("13款标致408手动舒适版", "标致", "408", 2013),
    ("标致2008怠速抖", "标致", "2008", None),
    ("宝马 3系 漏油", "宝马", "3系", None),
    ("12款宝马530Li用什么型号点火线圈", "宝马", "5系", 2012),
    ("11年的奔驰glk 主驾驶门板怎么拆", "奔驰", "GLK级", 2011),
    ("2006年奥迪A62.0T拆装过缸盖后", "奥迪", "A6", 2006),
    ("08款奥迪A6L 2.0T换了发电机", "奥迪", "A6L", 2008),
    ("15款进口奥迪a3更换液晶仪表", "奥迪", "A3", 2015),
    ("凯越11款1.6手动，里程5.6万", "别克", "凯越", 2011),
    ("日产轩逸13年，1.6手动波", "日产", "轩逸", 2013),
    ("04年尼桑风度a33电动后视镜不灵", "日产", "风度", 2004),
    ("我的车新君威12年的，怠速车抖", "别克", "君威", 2012),
    ("东风风神h30cross2012款漏水怎么修", "东风风神", "H30 CROSS", 2012),
    ("车子是哈佛H62015款，通电后嗡嗡响", "哈弗", "H6", 2015),
    ("06年皇冠3.0时规正时图", "丰田", "皇冠", 2006),
    ("五菱宏光s1.5标准版，发动机过三千转震动", "五菱", "宏光S", None),
    ("五菱宏光MINIEV充不进电", "五菱", "宏光MINIEV", None),
    ("我这有台polo，冷车打不着", "大众", "Polo", None),
    ("卡罗拉双擎省油吗", "丰田", "卡罗拉双擎", None),
    ("CRV机油门事件处理了？", "本田", "CR-V", None),
    ("比亚迪唐 2018款", "比亚迪", "唐", 2018),
    ("秦PLUS DM-i 跑高速没劲", "比亚迪", "秦PLUS DM-i", None),
    ("12款阳光空调不凉", "日产", "阳光", 2012),
    ("马自达6 换挡顿挫", "马自达", "6", None),
    ("我开的是大众，水温高", "大众", "", None),
    ("07年宝马空调滤芯内循环在哪", "宝马", "", 2007),
    ("My 1998 Jeep Grand Cherokee overheats", "Jeep", "大切诺基", 1998),
    ("on my '06 Silverado, the plugs", "雪佛兰", "索罗德", 2006),
    ("my 98 Mazda 626 stalls", "马自达", "626", 1998),
    ("2007 BMW Z4 won't start", "宝马", "Z4", 2007),
    ("2012 Focus won't start", "福特", "福克斯", 2012),
    ("Ford Econoline Van AC failing", "福特", "E系列", None),
    ("Problems with AUX input (Mazda 3 2007)", "马自达", "3", 2007),
    ("The VW Golf burns oil", "大众", "高尔夫", None),
    ("exhaust manifold on my Civic", "本田", "思域", None),
    ("Mercedes-Benz E-Class, air suspension low", "奔驰", "E级", None),
    ("朋友的途观拆下来的屏可以装17款迈腾车上用吗", "大众", "迈腾", 2017),
    ("有没有2015款的说明书", "", "", 2015),
]
NOT_FOUND = [
    "",
    "发动机故障灯亮了",
    "2014年3月换了机油",
    "2018年1月发现油箱盖子盖不上",
    "2015年元旦买的",
    "阳光太晒，皇冠一样的灯亮了",
    "新买的现代化设备",
    "大众化的修理厂，长安街上",
    "我的理想是修好它",
    "倒车雷达响，远景一片黑",
    "国产配件和风光一样",
    "迅速腾出时间",
    "燃油宝来改善积碳",
    "电流从正极流到86",
    "有塔塔声，吉利吗",
    "手机导航到北京、上海",
    "三系列灯泡和X5型垫片",
    "换408号零件",
    "唐朝、宋朝、汉元",
    "cost me 320 dollars",
    "Please focus on the edge of the note, vice versa",
    "Different models have a local maxima",
    "The seal is a smart fit for the city",
    "carrying exhaust fumes, splash the oil",
    "Don't dodge the ram, the pilot light is on",
    "Turn the key to accent the journey",
    "P0300 P0420 B1000 U0100",
    "205/55R16 轮胎 06H 905 110",
    "2000转 3000公里 12V 5W-30",
    "in 2010 California and Washington",
]


@pytest.mark.parametrize("names", SAME_BRANDS)
def test_names_of_one_brand_have_one_key(names: str):
    assert len({brand_key(name.replace("Land-", "Land ")) for name in names.split()}) == 1


@pytest.mark.parametrize(("one", "other"), SAME_SERIES)
def test_names_of_one_series_have_one_key(one, other):
    assert series_key(one[1], one[0]) == series_key(other[1], other[0])
    assert names_of_series(one[1], one[0]) is not None


def test_there_are_enough_examples():
    assert len(SAME_SERIES) + sum(len(names.split()) - 1 for names in SAME_BRANDS) >= 60
    assert len(DIFFERENT_BRANDS) + len(DIFFERENT_SERIES) >= 30
    assert len(FOUND) >= 30
    assert len(NOT_FOUND) >= 20


@pytest.mark.parametrize(("one", "other"), DIFFERENT_BRANDS)
def test_brands_are_kept_apart(one: str, other: str):
    assert brand_key(one) != brand_key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT_SERIES)
def test_series_are_kept_apart(one, other):
    assert series_key(one[1], one[0]) != series_key(other[1], other[0])


@pytest.mark.parametrize(("text", "brand", "series", "year"), FOUND)
def test_cars_are_found_in_free_text(text: str, brand: str, series: str, year: int | None):
    assert find_vehicle(text) == Vehicle(brand_key(brand), series_key(series, brand), year)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_ordinary_words_are_no_cars(text: str):
    assert find_vehicle(text) == Vehicle()


@pytest.mark.parametrize("name", ["Some New Brand", " 未知-牌 ", "ＡＢＣ　Ｄ", "x"])
def test_unknown_names_are_their_own_key(name: str):
    assert brand_key(name) == plain_key(name.strip())
    assert names_of(name) is None
    assert names_of_series(name) is None


def test_empty_names_have_an_empty_key():
    assert brand_key("") == brand_key(" ") == series_key("") == series_key(" - ", "大众") == ""


def test_an_unknown_series_loses_its_brand():
    assert series_key("大众 某某车", "大众") == series_key("某某车", "大众") == series_key("大众某某车") == "某某车"


def test_what_is_shown():
    assert names_of("vw") == Text(zh="大众", en="Volkswagen")
    assert names_of_series("passat") == Text(zh="帕萨特", en="Passat")
    assert names_of_series("X5", "宝马") == Text(zh="X5", en="X5")


def test_the_key_of_every_shown_name_is_the_key():
    for (brand, series), shown in vehicle_table().shown.items():
        assert brand_key(brand) == brand
        for name in (shown.zh, shown.en):
            if series:
                assert series_key(name, brand) == series, (brand, name)
                assert series_key(series) == series_key(series, brand) == series
                assert names_of_series(series) == shown
            else:
                assert brand_key(name) == brand


@given(st.text(max_size=30), st.sampled_from(["", "大众", "BMW", "奇瑞", "unknown"]))
def test_the_key_of_a_key_is_the_key(name: str, brand: str):
    assert brand_key(brand_key(name)) == brand_key(name)
    key = series_key(name, brand)
    assert series_key(key, brand) == key


@given(
    st.lists(st.sampled_from([*"新老款年2015 3系大众宝马X5-（）vwpassat", "帕萨特", "Ford", "Focus", "\n"])).map(
        "".join
    )
)
def test_any_text_may_be_searched(text: str):
    found = find_vehicle(text)
    assert brand_key(found.brand) == found.brand
    assert not found.series or names_of_series(found.series) is not None
    assert found.year is None or 1970 <= found.year <= 2039


def test_the_file_is_small():
    assert PATH.stat().st_size < 600_000


FACTS = [
    ("大众", "Volkswagen", "帕萨特", "Passat"),
    ("大众", "Volkswagen", "Passat(进口)", "Passat (import)"),
    ("大众", "Volkswagen", "帕萨特PHEV", "Passat PHEV"),
    ("某某汽车", "MouMou", "某某X1", "X1"),
    ("某某汽车", "MouMou", "元素", "element"),
    ("某某汽车", "MouMou", "星辰", "MouMou Xingchen"),
    ("某某汽车", "MouMou", "某某未来概念车", "Future Concept"),
]


def test_the_table_is_made_from_facts_and_names():
    facts = [dict(zip(("brand_zh", "brand_en", "model_zh", "model_en"), row, strict=True)) for row in FACTS]
    rows = {(row["brand"], row["zh"]): row for row in build(facts, read_aliases())}
    passat = rows["大众", "帕萨特"]
    assert ("大众", "Passat") not in rows
    assert (passat["series"], passat["en"]) == ("帕萨特", "Passat")
    assert rows["大众", "帕萨特PHEV"]["en"] == "Passat PHEV"
    assert rows["某某汽车", "X1"]["series"] == "某某汽车x1"
    assert rows["某某汽车", "元素"]["en"] == "元素", "translated word by word, so not its name"
    assert rows["某某汽车", "星辰"]["en"] == "Xingchen"
    assert not [zh for brand, zh in rows if "概念" in zh]
    assert rows["某某汽车", "星辰"]["alone"] == "", "only a brand that people named is known well enough"


def test_a_name_given_twice_is_told():
    aliases = read_aliases()
    twice = {**aliases.series, "大众": {"帕萨特": ("Passat",), "迈腾": ("Passat",)}}
    with pytest.raises(ValueError, match="大众 has two cars of one name"):
        build([], aliases.model_copy(update={"series": twice}))
