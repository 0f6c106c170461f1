"""What a diagnosis, a search, a fresh start and the memory cost on this machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from app.advisor import Advisor

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = Path(__file__).parent / "sample.jpg"
# Every photo is diagnosed this often after one run that warms the model up; the median over all runs counts.
ROUNDS = 5
BRANDS = ("大众", "丰田", "本田", "比亚迪", "吉利", "长安", "Ford", "BMW", "Audi", "Hyundai")
PLACES = ("冷车时", "热车后", "雨天", "高速上", "上坡时", "on cold mornings", "in heavy rain", "at 100 km/h", "uphill")


def measure(photos: Sequence[Path], cases: int) -> dict[str, Any]:
    """The figures of ``yangche bench --json``.

    Args:
        photos: photos to diagnose; none = the bundled sample.
        cases: how many cases the searched archive holds. They are starter cases, varied in vehicle and circumstances.

    Raises:
        PhotoError: if a photo can't be read.
    """
    photos = list(photos) or [SAMPLE]
    with tempfile.TemporaryDirectory(prefix="yangche-bench-") as folder:
        start_home, search_home = Path(folder, "start"), Path(folder, "search")
        figures = {"diagnose": _diagnose(photos, start_home)}
        # The archive is there by now, as it is on a machine in use; the process is fresh.
        start_s = _start(photos[0], start_home)
        figures["search"] = _search(cases, search_home)
    return {**figures, "start_s": round(start_s, 3), "peak_rss_mb": round(_peak_rss_mb(), 1)}


def _diagnose(photos: Sequence[Path], home: Path) -> dict[str, Any]:
    """Photo file to finished advice, beside the time inside onnxruntime during those same runs.

    Reading the words on the cluster comes after that advice, and is measured apart.
    """
    from models import SHIPPED
    from vision.detector import OnnxDetector
    from vision.photo import open_photo
    from vision.scene import SceneDetector
    from vision.whole import OnnxWholePhoto

    lamps, kind = OnnxDetector.load(), OnnxWholePhoto.load(SHIPPED / "whole")
    scenes = SceneDetector.load(SHIPPED / "scenes", SHIPPED / "damage")
    advisor = Advisor.open(home, detector=lamps, whole=kind, scenes=scenes)
    advisor.diagnose(photos[0])
    whole: list[float] = []
    bare: list[float] = []
    for _ in range(ROUNDS):
        for photo in photos:
            for model in (lamps, kind, scenes):
                model.session_ms.clear()
            whole.append(_ms(lambda photo=photo: advisor.diagnose(photo)))  # type: ignore[misc]
            bare.append(sum(sum(model.session_ms) for model in (lamps, kind, scenes)))
    text: list[float] = []
    for photo in [photos[0], *photos]:  # the first run loads the reader
        rgb = open_photo(photo).rgb
        diagnosis = advisor.diagnose(photo)
        text.append(_ms(lambda d=diagnosis, rgb=rgb: advisor.read(d, rgb)))  # type: ignore[misc]
    figures = {"p50_ms": whole, "model_p50_ms": bare, "text_p50_ms": text[1:]}
    return {key: round(statistics.median(times), 2) for key, times in figures.items()}


PART = 50_000  # cases in one file of an import: a file has at most half a gigabyte


def _search(cases: int, home: Path) -> dict[str, Any]:
    """One search over an archive of ``cases`` cases."""
    from knowledge.archive import STARTER_CASES, Archive
    from knowledge.tables import read_rows

    starters = [dict(row.values) for row in read_rows(STARTER_CASES)]
    home.mkdir(parents=True)
    file = home / "bench.jsonl"
    archive = Archive.init(home, empty=True)
    rows = _varied(starters)
    for start in range(0, cases, PART):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in islice(rows, min(PART, cases - start)))
        file.write_text("".join(lines), encoding="utf-8")
        archive.import_file(file, keep_personal=True)
    archive.close()
    searcher = Advisor.open(home).searcher
    queries = [row["symptom"][lang] for row, lang in zip(starters, cycle(("zh", "en")), strict=False)]
    searcher.search(queries[0])
    times = [_ms(lambda query=query: searcher.search(query)) for query in queries]  # type: ignore[misc]
    return {"cases": cases, "p50_ms": round(statistics.median(times), 2)}


def _varied(starters: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Endless cases, each a starter case on another vehicle and under other circumstances."""
    for number, row in enumerate(cycle(starters)):
        place = PLACES[number % len(PLACES)]
        yield {
            **row,
            "case_id": f"bench-{number}",
            "brand": BRANDS[number % len(BRANDS)],
            "model_year": 2005 + number % 20,
            "mileage_km": 1000 * (number % 250),
            "symptom": {lang: f"{place} {text}" for lang, text in row["symptom"].items()},
            "source": "bench",
        }


def _start(photo: Path, home: Path) -> float:
    """Seconds from the start of a fresh process to its first answer."""
    command = [sys.executable, "-m", "app.cli", "diagnose", str(photo.resolve()), "--json"]
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - this very program
        command, cwd=ROOT, env={**os.environ, "YANGCHE_HOME": str(home)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        process.stdout.readline()
        seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return seconds


def _ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)


def _peak_rss_mb() -> float:
    """The larger of this process and its child, at their peaks."""
    import resource

    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # macOS counts bytes, Linux KiB
