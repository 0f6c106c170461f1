"""The models that yangche serves and a trainer may replace: how each is trained, opened, measured and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowledge.catalogue import LIGHT_IDS, load_catalogue
from knowledge.text import Text, UserError
from models import Manifest
from vision.detector import CLUSTER, Detector

if TYPE_CHECKING:
    from training.pipeline import Recipe

Progress = Callable[[Iterable[Any]], Iterable[Any]]


class PromotionError(UserError):
    """A model that cannot be promoted, whatever the reason given."""


@dataclass(frozen=True)
class Served:
    """One model.

    Attributes:
        recipe: how its YOLO is trained; None for the classifier of whole photos.
        open: the detector in a model folder, as it is served.
        main: the figure that a new model must raise; ``compared``: those that are shown side by side.
        counted: what ``objects`` of its figures are; ``critical``: which of them must not be missed more often.
    """

    name: str
    recipe: Callable[[], Recipe] | None
    open: Callable[[Path], Detector]
    main: str
    compared: tuple[str, ...]
    counted: Text
    critical: Text

    def check(self, manifest: Manifest) -> None:
        """Refuse a model that does not know what the contract demands, or knows what nobody has written advice for.

        Raises:
            PromotionError: naming the classes.
        """
        needed: Iterable[str] = (*LIGHT_IDS, CLUSTER) if self.name == "lights" else self._classes()
        if missing := [name for name in needed if name not in manifest.classes]:
            raise PromotionError(
                zh=f"新模型不认识这些类别, 不能启用: {', '.join(missing)}。请用含全部类别的数据训练。",
                en=f"The new model does not know {', '.join(missing)}: train it on data that names all classes.",
            )
        known = {*load_catalogue().lights, CLUSTER} if self.name == "lights" else {*self._classes()}
        if unknown := [name for name in manifest.classes if name not in known]:
            file = "knowledge/lights/" if self.name == "lights" else "training/scenes.py"
            raise PromotionError(
                zh=f"这些类别没有写过说明: {', '.join(unknown)}。请先写进 {file}。",
                en=f"Nothing is written about {', '.join(unknown)}: first write entries in {file}.",
            )

    def _classes(self) -> tuple[str, ...]:
        if self.recipe is not None:
            return self.recipe().classes
        from vision.whole import KINDS, SEVERITIES

        return (*KINDS, *SEVERITIES)

    def photos(self, data: Path, split: str) -> list[Path]:
        """The labelled photos of ``data``."""
        if self.recipe is None:
            from training.whole import examples_in

            return [example.path for example in examples_in(data, split)]
        from training.evaluate import read_samples

        return [sample.path for sample in read_samples(data, split)]

    def measure(self, folder: Path, data: Path, split: str, progress: Progress = iter) -> dict[str, Any]:
        """The figures of the model in ``folder`` on labelled photos."""
        if self.recipe is None:
            from training.whole import evaluate_folder

            return evaluate_folder(folder, data, split, progress)
        from training.evaluate import evaluate, read_samples

        return evaluate(self.open(folder), read_samples(data, split), progress).figures


def _lights(folder: Path) -> Detector:
    from vision.detector import OnnxDetector

    return OnnxDetector.load(folder)


def _scenes(folder: Path) -> Detector:
    from vision.scene import SceneDetector

    return SceneDetector.load(folder)


def _lights_recipe() -> Recipe:
    from training.lights import recipe

    return recipe()


def _scene_recipe(name: str) -> Callable[[], Recipe]:
    def recipe() -> Recipe:
        from training.scenes import RECIPES

        return RECIPES[name]

    return recipe


_BOXES = ("mAP50", "found_AP50", "recall", "precision", "critical_recall", "ece")
_WHOLE = ("kind_accuracy", "damaged_balanced_accuracy", "severity_accuracy", "critical_recall")
SERVED: Mapping[str, Served] = {
    served.name: served
    for served in (
        Served("lights", _lights_recipe, _lights, "mAP50", _BOXES, Text(zh="灯", en="lamps"),
               Text(zh="红灯", en="red lamps")),
        Served("scenes", _scene_recipe("scenes"), _scenes, "mAP50", _BOXES, Text(zh="框", en="boxes"),
               Text(zh="事故车和烟火", en="crashed vehicles, fire and smoke")),
        Served("damage", _scene_recipe("damage"), _scenes, "mAP50", _BOXES, Text(zh="框", en="boxes"),
               Text(zh="破损的部件和玻璃", en="broken parts and glass")),
        Served("whole", None, _scenes, "kind_accuracy", _WHOLE, Text(zh="照片", en="photos"),
               Text(zh="事故照片", en="photos of accidents")),
    )
}  # fmt: skip
