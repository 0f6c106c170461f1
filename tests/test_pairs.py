"""The pairs of an owner's words and a technician's that the sentence encoder is to be taught with."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "training" / "pairs"
HAN = re.compile(r"[\u4e00-\u9fff]")
PERSONAL = re.compile(r"1[3-9]\d{9}|[A-HJ-NPR-Z0-9]{17}")  # mobile numbers, VINs


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, str]]:
    files = sorted(FOLDER.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def test_there_are_enough_in_both_languages_and_for_every_system(pairs: list[dict[str, str]]) -> None:
    count = Counter(pair["lang"] for pair in pairs)
    assert count["zh"] >= 3000
    assert count["en"] >= 1000
    assert min(Counter(pair["system"] for pair in pairs).values()) >= 200


def test_each_is_whole_and_in_its_language(pairs: list[dict[str, str]]) -> None:
    for pair in pairs:
        assert set(pair) == {"lang", "system", "said", "found"}
        for text in (pair["said"], pair["found"]):
            assert 4 <= len(text) <= 400
            assert bool(HAN.search(text)) == (pair["lang"] == "zh"), text
            assert not PERSONAL.search(text), text


def test_nobody_says_the_same_twice(pairs: list[dict[str, str]]) -> None:
    said = Counter(re.sub(r"[\W_]", "", pair["said"].lower()) for pair in pairs)
    assert [text for text, times in said.items() if times > 1] == []
