"""Pictures of each page: ``python -m tests.screenshots [--readme] [NAME...]``; into out/screenshots, see `tests.pages`.

``--readme``: the few that the README shows, small, into app/screenshots; they hold the repository's own photos only.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from knowledge.text import LANGS, Lang
from tests.pages import APP, SCREENS, STATES, chromium, furnished, opened
from tests.serving import operated

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OUT = APP.parent / "out" / "screenshots"
README = APP / "screenshots"
MAX_BYTES = 150_000
# What the README shows: page, language, screen, dark, and whether the whole page or what stands on the screen.
CHOSEN: tuple[tuple[str, Lang, str, bool, bool], ...] = (
    ("owner-answered", "zh", "desktop", False, False),
    ("owner-answered", "en", "phone", True, False),
    ("owner-accident", "zh", "phone", False, False),
    ("workshop-search", "zh", "desktop", False, False),
    ("trainer-queue", "en", "desktop", False, False),
)


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true", help="the few that the README shows")
    parser.add_argument("names", nargs="*", choices=[[], *STATES], help="only these pages")
    given = parser.parse_args()
    folder = README if given.readme else OUT
    folder.mkdir(parents=True, exist_ok=True)
    every = itertools.product(given.names or STATES, LANGS, SCREENS, (False, True), (True,))
    if given.readme:
        _annotated(folder / "annotated.jpg")
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        furnished(Path(home))
        with operated(Path(home), uploads_per_minute=10**6, events_per_minute=10**6) as address:
            for name, lang, screen, dark, whole in CHOSEN if given.readme else every:
                path = folder / f"{name}-{lang}-{screen}{'-dark' if dark else ''}.webp"
                try:
                    data = _picture(browser, address, name, lang, screen, dark=dark, whole=whole)
                except Exception as error:  # one page that fails must not keep the others away
                    print(f"{path.name}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
                    continue
                size = _save(data, path, MAX_BYTES if given.readme else 10**9)
                print(f"{path.relative_to(APP.parent)} {size // 1000} kB", flush=True)


def _annotated(path: Path) -> None:
    """The sample photo as `yangche diagnose` marks it."""
    from app.advisor import Advisor
    from vision.photo import open_photo

    photo = open_photo(APP / "sample.jpg")
    with tempfile.TemporaryDirectory() as home:
        advisor = Advisor.open(Path(home))
        advisor.annotate(advisor.diagnose(photo), photo.rgb, "zh").save(path, quality=80)


def _picture(
    browser: Browser, address: str, name: str, lang: Lang, screen: str, *, dark: bool, whole: bool
) -> bytes:  # fmt: skip
    with opened(browser, address, name, lang, screen=screen, dark=dark) as page:
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > SCREENS[screen][0]:
            print(f"{name}-{lang}-{screen}: {wide} pixels wide", flush=True)
        return page.screenshot(full_page=whole)


def _save(png: bytes, path: Path, most: int) -> int:
    """As WebP of at most ``most`` bytes; its size."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (85, 75, 65, 50, 35):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= most:
            break
    path.write_bytes(buffer.getvalue())
    return buffer.tell()


if __name__ == "__main__":
    main()
