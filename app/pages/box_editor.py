"""The editor of boxes on a photo, ``<yc-boxes>`` of box_editor.js, as HTML for the owner's and the trainer's page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from app.records.correction import Kind, classes_of
from app.texts import say
from knowledge.text import Lang

_WORDS = {
    "owner": ("wrong.found", "wrong.right", "wrong.wrong", "wrong.nothing", "wrong.really", "wrong.missed",
              "wrong.unnamed", "boxes.help_owner"),
    "trainer": ("boxes.class", "boxes.unknown", "boxes.help"),
    "both": ("boxes.add", "boxes.pan", "boxes.larger", "boxes.smaller", "boxes.delete", "boxes.box"),
}  # fmt: skip


def script() -> str:
    """What a page with editors needs in its head."""
    code, style = (Path(__file__).with_name(f"box_editor.{kind}").read_text("utf-8") for kind in ("js", "css"))
    return f"<script>window.ycBoxesStyle = {json.dumps(style)};\n{code}</script>"


def boxes_html(
    mode: str,
    key: str,
    kind: Kind,
    lang: Lang,
    *,
    src: str = "",
    boxes: Sequence[Mapping[str, Any]] = (),
    found: Sequence[Mapping[str, Any]] = (),
    number: int = 1,
) -> str:
    """One editor.

    Args:
        mode: "owner" or "trainer".
        key: what it is about.
        kind: of the photo; decides which classes there are.
        lang: of the words.
        src: the photo's address, or a selector of the picture on the page that shows it; "" where there is none.
        boxes: label and box (shares of the photo) to begin with.
        found: number, label and name of what an owner may judge.
        number: which of the owner's photos it is.
    """
    data = {
        "boxes": boxes,
        "found": found,
        "classes": [(label, name_of(label, lang)) for label in classes_of(kind)],
        "words": {one.split(".")[1]: say(one, lang) for one in (*_WORDS[mode], *_WORDS["both"])},
    }
    attributes = {"mode": mode, "key": key, "src": src, "number": str(number)} | {
        name: json.dumps(value, ensure_ascii=False) for name, value in data.items()
    }
    inside = " ".join(f'data-{name}="{escape(value)}"' for name, value in attributes.items())
    return f"<yc-boxes {inside}></yc-boxes>"


def name_of(label: str, lang: Lang) -> str:
    """What people call a class: a light, the cluster, or a thing of a scene; an unknown one as it is spelt."""
    from app.scene import THINGS
    from app.scene import name_of as scene_name
    from knowledge.catalogue import load_catalogue
    from vision.detector import CLUSTER

    if (light := load_catalogue().lights.get(label)) is not None:
        return light.name.in_(lang)
    if label == CLUSTER:
        return say("boxes.cluster", lang)
    return scene_name(label).in_(lang) if label in THINGS else label
