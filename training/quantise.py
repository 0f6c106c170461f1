"""Makes the classifier of crops (and the detector, if asked for) INT8, by onnxruntime's static quantisation.

python -m training.quantise --to models/lights

Only convolutions are quantised (weights per channel, activations by the range that rendered photos show); the last
layers of each head stay in floating point, since a small error there moves a box or a confidence.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from models import read_manifest, sha256_of
from vision.detector import DEFAULT_FOLDER, OnnxDetector
from vision.naming import crop

app = typer.Typer(help=__doc__, add_completion=False)


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Feeds ready tensors to the calibration."""

    def __init__(self, name: str, tensors: Iterator[NDArray[np.float32]]) -> None:
        self.name, self.tensors = name, tensors

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input, or None after the last."""
        tensor = next(self.tensors, None)
        return None if tensor is None else {self.name: tensor}


def _shots(count: int, seed: int = 4711) -> Iterator[NDArray[np.uint8]]:
    from training.camera import take_photo
    from training.cluster import draw_cluster

    for n in range(count):
        rng = np.random.default_rng([seed, n])
        yield take_photo(draw_cluster(rng), rng, size=(1280, 736)).rgb


def _tensor(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def _last_convolutions(model: onnx.ModelProto) -> list[str]:
    """Convolutions whose output reaches the model's output through no other convolution."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found, todo, seen = [], [out.name for out in model.graph.output], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in makers:
            continue
        seen.add(name)
        node = makers[name]
        if node.op_type == "Conv":
            found.append(node.name)
        else:
            todo.extend(node.input)
    return found


def quantise(source: Path, to: Path, tensors: Iterator[NDArray[np.float32]]) -> None:
    """Write an INT8 version of an ONNX model, calibrated on the inputs given."""
    model = onnx.load(source)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / "named.onnx"
        onnx.save(model, named)
        quantize_static(
            named, to, _Inputs(model.graph.input[0].name, tensors), quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"], per_channel=True, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_last_convolutions(model), extra_options={"ActivationSymmetric": False},
        )  # fmt: skip


@app.command()
def main(
    source: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
    to: Annotated[Path, typer.Option(help="Folder for the INT8 version, a whole model folder")] = Path("work/int8"),
    detector: Annotated[bool, typer.Option(help="The detector, too: smaller, and less exact")] = False,
    shots: Annotated[int, typer.Option(help="Rendered photos for calibration")] = 24,
) -> None:
    """Write a model folder whose classifier of crops (and detector, if asked for) is INT8."""
    from training.card import write_manifest

    manifest = read_manifest(source)
    served = OnnxDetector.load(source)
    if to.resolve() != source.resolve():
        shutil.copytree(source, to, dirs_exist_ok=True)
    pictures = list(_shots(shots))
    update: dict[str, Any] = {}
    if detector:
        quantise(source / manifest.file, to / manifest.file, (_tensor(p[None]) for p in pictures))
        update["sha256"] = sha256_of(to / manifest.file)
    if manifest.naming is not None:
        from training.naming_net import write_onnx

        with tempfile.TemporaryDirectory() as folder:
            exact = Path(folder) / "naming.onnx"  # the one in ``source`` may be INT8 already
            write_onnx(source / manifest.naming.weights, exact)
            quantise(exact, to / manifest.naming.file, _crops(served, pictures, manifest.naming.side))
        update["naming"] = manifest.naming.model_copy(update={"sha256": sha256_of(to / manifest.naming.file)})
    write_manifest(to, manifest.model_copy(update=update))
    typer.echo(json.dumps({file.name: file.stat().st_size for file in sorted(to.glob("*.onnx"))}))


def _crops(served: OnnxDetector, pictures: Sequence[NDArray[np.uint8]], side: int) -> Iterator[NDArray[np.float32]]:
    """What the detector proposes in each picture, as the classifier's input."""
    for picture in pictures:
        boxes = [tuple(box) for box in served.propose(picture)[1].boxes.tolist()]
        if boxes:
            yield _tensor(np.stack([crop(picture, box, side) for box in boxes]))


if __name__ == "__main__":
    app()
