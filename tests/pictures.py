"""Makes the pictures of the README, from the real page and the sample: ``python -m tests.pictures``."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from app.advisor import Advisor
from tests.test_web import LOCALES, SCREENS, ask_sample, serving
from vision.photo import open_photo

APP = Path(__file__).parents[1] / "app"
OUT = APP / "pictures"


def main() -> None:
    """Write page-zh.png, phone-en.png and annotated.jpg into app/pictures."""
    from playwright.sync_api import sync_playwright

    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        photo = open_photo(APP / "sample.jpg")
        advisor = Advisor.open(home)
        advisor.annotate(advisor.diagnose(photo), photo.rgb, "zh").save(OUT / "annotated.jpg", quality=85)
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"]
        )
        with serving(home) as url:
            for name, lang, screen in (("page-zh", "zh", "desktop"), ("phone-en", "en", "phone")):
                width, height = SCREENS[screen]
                context = browser.new_context(viewport={"width": width, "height": height}, locale=LOCALES[lang])
                page = context.new_page()
                page.goto(url)
                ask_sample(page, lang)
                page.wait_for_timeout(800)  # fonts and the photo settle
                target = OUT / f"{name}.png"
                page.screenshot(path=target, full_page=screen == "desktop")
                Image.open(target).convert("P", palette=Image.Palette.ADAPTIVE, colors=200).save(target, optimize=True)
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
