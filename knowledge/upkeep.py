"""Looking after an archive: does everything in it agree, make the search anew, keep a copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from knowledge.archive import DATABASE
from knowledge.dense import Progress
from knowledge.embed import Embedder
from knowledge.search import Searcher
from knowledge.sql_store import SqlCaseStore
from knowledge.store import StoreError
from knowledge.text import Text

CACHE = "cache"  # folder in YANGCHE_HOME; everything in it can be made anew
SAMPLE = 50  # vectors that are made again and compared


@dataclass(frozen=True)
class Health:
    """What `check` found. ``problems`` is empty for a sound archive."""

    cases: int
    vectors: int
    confirmations: int
    problems: tuple[Text, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(searcher: Searcher) -> Health:
    """Compare database and index, and look for damage; reads everything, changes no case."""
    store = searcher.store
    problems: list[Text] = []
    if isinstance(store, SqlCaseStore) and (damage := store.damage()):
        problems.append(Text(zh=f"数据库文件已损坏：{damage}", en=f"The database file is damaged: {damage}"))
    here = {s.case.case_id for s in store.changes()}
    confirmations = store.confirmations()
    if strays := sorted(set(confirmations) - here):
        problems.append(
            Text(
                zh=f"有 {len(strays)} 个案例不存在，却有对它们的确认，例如 {strays[0]}。",
                en=f"{len(strays)} cases have confirmations but are not here, such as {strays[0]}.",
            )
        )
    searcher.refresh()
    vectors, wrong = searcher.compare(SAMPLE)
    if wrong:
        problems.append(
            Text(
                zh=f"索引里有 {wrong} 个案例与数据库不符，请运行 yangche archive rebuild。",
                en=f"{wrong} cases differ between index and database; please run: yangche archive rebuild",
            )
        )
    return Health(store.count(), vectors, sum(map(len, confirmations.values())), tuple(problems))


def rebuild(home: Path, embedder: Embedder | None = None, progress: Progress | None = None) -> int:
    """Throw the search's files away and make them anew from the database; the cases in it.

    Raises:
        StoreError: if the archive can't be used.
    """
    with suppress(FileNotFoundError):
        shutil.rmtree(home / CACHE)
    searcher = Searcher.open(home, embedder)
    searcher.refresh(progress)
    searcher.save()
    count = searcher.store.count()
    searcher.close()
    return count


def backup(store: SqlCaseStore, path: Path) -> int:
    """Write a whole copy of the archive to ``path`` while others go on working; its size in bytes.

    To go back to it, stop yangche and put the copy in the place of ``archive.sqlite``. The search notices by itself.

    Raises:
        StoreError: if the copy can't be written; what stood at ``path`` is then unharmed.
    """
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".backup-"))
    except OSError as error:
        raise _unwritable(path) from error
    try:
        copy = folder / DATABASE
        store.backup(copy)
        with copy.open("rb+") as file:
            os.fsync(file.fileno())
        size = copy.stat().st_size
        copy.replace(path)
        return size
    except OSError as error:
        raise _unwritable(path) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unwritable(path: Path) -> StoreError:
    return StoreError(
        f"无法把备份写到 {path}，请检查文件夹和权限。",
        f"Can't write the backup to {path}; check the folder and its rights.",
    )
