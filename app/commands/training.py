"""The trainer's commands: `yangche train|evaluate|export|models`. Whatever is heavy loads when a command runs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.options import JsonOption, LangOption, console, fail, language_of, print_json, spoken, user_error
from app.settings import Settings
from app.texts import say
from knowledge.text import Lang

if TYPE_CHECKING:
    from training.evaluate import Report
    from training.yolo import DataSet
    from vision.detector import Rgb

    Progress = Callable[[Iterable[Any]], Iterable[Any]]


def _group(words: str) -> typer.Typer:
    return typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)


train_app = _group("训练 / Training.")
evaluate_app = _group("测量模型 / Measure a model.")
export_app = _group("导出模型 / Export a trained model.")
models_app = _group("模型的版本 / Versions of the model.")

DataOption = Annotated[Path, typer.Option(help="data.yaml，或 labels.json / data.yaml, or a labels.json.")]
SplitOption = Annotated[str, typer.Option(help="用 data.yaml 的哪一部分 / Which split of data.yaml.")]
DeviceOption = Annotated[str, typer.Option(help="cpu、0、0,1 …，默认有显卡就用 / Default: a GPU if there is one.")]


def add_to(app: typer.Typer) -> None:
    """Hang the groups into the command line."""
    groups = {"train": train_app, "evaluate": evaluate_app, "export": export_app, "models": models_app}
    for name, group in groups.items():
        app.add_typer(group, name=name)


WeightsOption = Annotated[
    Path | None, typer.Option(help="从哪里开始，默认现用模型 / Where to start; default: the present model.")
]
HoursOption = Annotated[float, typer.Option("--time", min=0.001, help="训练几小时 / Hours to train.")]
RunOption = Annotated[Path | None, typer.Option(help="运行文件夹，默认 work/runs/模型名 / Run folder.")]
NameOption = Annotated[str, typer.Option("--model", help="lights, scenes, damage, whole")]


def _add_train(name: str, help_text: str) -> None:
    """`yangche train NAME` for one of the detectors."""

    @train_app.command(name, help=help_text)
    def train(
        data: Annotated[Path | None, typer.Option(help="data.yaml (Ultralytics)")] = None,
        weights: WeightsOption = None,
        out: RunOption = None,
        hours: HoursOption = 1.0,
        device: DeviceOption = "",
        batch: Annotated[int, typer.Option(min=1, help="一批几张 / Pictures a step.")] = 8,
        lr0: Annotated[float, typer.Option(help="学习率峰值 / Peak learning rate of AdamW.")] = 0.001,
        resume: Annotated[bool, typer.Option("--resume", help="接着中断的训练 / Go on with --out.")] = False,
        unchecked: Annotated[
            bool, typer.Option("--unchecked", help="不先检查数据 / Don't check the data first.")
        ] = False,
        lang: LangOption = None,
    ) -> None:
        options: dict[str, Any] = {"hours": hours, "device": device, "batch": batch, "lr0": lr0}
        _train(name, data, weights, out or Path("work/runs") / name, options, resume, unchecked, language_of(lang))


def _train(
    name: str,
    data: Path | None,
    weights: Path | None,
    out: Path,
    options: dict[str, Any],
    resume: bool,
    unchecked: bool,
    language: Lang,
) -> None:
    from models import current_folder, read_manifest
    from training.lights import RENDERED
    from training.pipeline import fit, train_extra
    from training.pipeline import resume as go_on
    from training.served import SERVED

    with train_extra():
        import torch  # noqa: F401 - before anything is checked or cut, say what is missing
        import ultralytics  # noqa: F401

    made = SERVED[name].recipe
    if made is None:
        raise ValueError(f"{name} is not trained by Ultralytics")
    recipe = made()
    if resume:
        last, out = _runs(out)
        if run := _interruptible(lambda: go_on(last, options["hours"], options["device"]), last):
            _trained(run, language)
            return
        data, weights = data or last / "data.yaml", weights or last / "weights" / "last.pt"
        print(say("train.starts_from_last", language, weights=weights, out=out), file=sys.stderr)
    if data is None:
        fail(say("train.needs_data", language), status=2)
    from training.yolo import DataSet

    dataset = DataSet.read(data)
    rendered = (dataset.file.parent / RENDERED).is_file()
    note = {"data": str(data), "command": shlex.join(sys.argv), "rendered": rendered}
    if not rendered:
        if not unchecked:
            _stop_at_errors(dataset, recipe.classes, language)
        if name == "lights":  # lamps are too small for a whole photo
            dataset, note = _cut(dataset, out, note, language)
    if weights is None:
        present = read_manifest(current_folder(name, Settings.read().home))
        weights = present.folder / present.weights
    start = weights
    _trained(_interruptible(lambda: fit(recipe, dataset.file, start, out, note=note, **options), out), language)


_add_train(
    "lights", "训练认灯模型：自己的照片或画出来的图都行。 / Train the lights model, on photos or rendered pictures."
)
_add_train("scenes", "训练事故现场模型（车、火、烟）。 / Train the model of accident scenes.")
_add_train("damage", "训练车损模型（划痕、凹陷、破损）。 / Train the model of damage.")


@train_app.command("whole")
def train_whole(
    data: Annotated[Path, typer.Option(help="按类别分好的照片 / DATA/train/CLASS/*.jpg, or training.whole collect.")],
    weights: WeightsOption = None,
    out: RunOption = None,
    hours: HoursOption = 0.6,
    device: DeviceOption = "",
    lang: LangOption = None,
) -> None:
    """训练整张照片的分类（种类、轻重）。 / Train the classifier of whole photos (kind, severity)."""
    from models import current_folder, read_manifest
    from training.pipeline import train_extra
    from training.whole import store, train

    with train_extra():
        import torch
    run = out or Path("work/runs/whole")
    if not (data / "train.npz").is_file():
        store(data, run / "data")
        data = run / "data"
    if weights is None:
        present = read_manifest(current_folder("whole", Settings.read().home))
        weights = present.folder / present.weights
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    train(data, run, hours, device=chosen, start=weights)
    _trained(run, language_of(lang))


@train_app.command("check")
def train_check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="data.yaml")],
    name: NameOption = "lights",
    as_json: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """检查数据集：坏图、错标、重复、类别。 / Check a data set; exit status 1 if something must be put right."""
    from training.check import check
    from training.served import SERVED
    from training.yolo import DataSet

    language = language_of(lang)
    recipe = SERVED[_served(name)].recipe
    if recipe is None:
        fail(say("train.no_boxes", language, name=name), status=2)
    report = check(DataSet.read(data), recipe().classes, _progress(say("train.checking", language)))
    if as_json:
        print_json(
            {
                "ok": not report.must_fix,
                "pictures": report.pictures,
                "boxes": {split: dict(counts) for split, counts in report.boxes.items()},
                "findings": [finding.to_json() for finding in report.findings],
            }
        )
    else:
        from app.commands.training_report import print_check

        print_check(console(), report, language)
    if report.must_fix:
        raise typer.Exit(1)


@train_app.command("render")
def train_render(
    out: Annotated[Path, typer.Option(help="数据集文件夹 / Folder of the data set.")] = Path("work/lights"),
    frames: Annotated[int, typer.Option(min=1, help="训练用几张 / Rendered photos for training.")] = 1500,
    val: Annotated[int, typer.Option(min=1, help="验证用几张 / For validation.")] = 60,
    tiles: Annotated[int, typer.Option(min=1, help="每张切几块 / Tiles cut from each.")] = 3,
    backgrounds: Annotated[
        list[Path] | None, typer.Option(help="没有仪表的真实照片 / Folders of real photos without clusters.")
    ] = None,
    seed: int = 1,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    lang: LangOption = None,
) -> None:
    """画一个数据集。 / Render a data set."""
    from training.lights import render

    render(out, frames, val, tiles, backgrounds, seed, workers)
    print(say("train.rendered", language_of(lang), data=out / "data.yaml"), file=sys.stderr)


def _add_export(name: str) -> None:
    """`yangche export NAME`."""

    @export_app.command(name, help=f"导出为 ONNX 模型文件夹。 / Export trained weights ({name}): ONNX, manifest, card.")
    def export(
        run: Annotated[Path, typer.Option(help="训练的运行文件夹 / Run folder of a training.")],
        to: Annotated[Path | None, typer.Option(help="模型文件夹，默认 RUN/model / Model folder.")] = None,
        lang: LangOption = None,
    ) -> None:
        from models import read_manifest
        from training import promote
        from training.card import model_card
        from training.served import SERVED

        folder = to or run / "model"
        if SERVED[name].recipe is None:
            from training.whole import export

            export(run, folder)
        else:
            promote.export_run(run, folder, Settings.read().home, SERVED[name])
        (folder / "README.md").write_text(model_card(read_manifest(folder)), encoding="utf-8")
        print(say("train.exported", language_of(lang), folder=folder))


def _add_evaluate(name: str) -> None:
    """`yangche evaluate NAME`."""

    @evaluate_app.command(
        name, help=f"在带标注的照片上测量实际运行的模型。 / Measure what is served ({name}) on labelled photos."
    )
    def evaluate(
        data: DataOption,
        split: SplitOption = "val",
        model: Annotated[
            Path | None,
            typer.Option(help="模型或运行文件夹，默认现用的 / Model or run folder; default: the one served."),
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="报告和最差照片写到这里 / Folder for the report and the worst photos.")
        ] = None,
        as_json: JsonOption = False,
        lang: LangOption = None,
    ) -> None:
        _evaluate(name, data, split, model, out, as_json, language_of(lang))


def _evaluate(
    name: str, data: Path, split: str, model: Path | None, out: Path | None, as_json: bool, language: Lang
) -> None:
    from app.commands.training_report import print_evaluation, print_figures
    from models import current_folder
    from training.served import SERVED

    home, served = Settings.read().home, SERVED[name]
    if model is None:
        folder = current_folder(name, home)
    else:
        from training.promote import model_folder

        folder = model_folder(model, home, served)
    progress = _progress(say("train.looking", language))
    if served.recipe is None:
        figures = served.measure(folder, data, split, progress)
        if as_json:
            print_json(figures)
        else:
            print_figures(console(), figures, served, language)
        return
    from training.evaluate import evaluate, read_samples

    detector = served.open(folder)
    report = evaluate(detector, read_samples(data, split), progress)
    for error in report.unread.values():
        print(error.text.in_(language), file=sys.stderr)
    if as_json:
        print_json(report.figures)
    else:
        print_evaluation(console(), report.figures, served, language)
    if out is not None:
        _write_report(report, detector.threshold, out, language)


for _name in ("lights", "scenes", "damage", "whole"):
    _add_export(_name)
    _add_evaluate(_name)


@models_app.command("list")
def models_list(name: NameOption = "lights", as_json: JsonOption = False, lang: LangOption = None) -> None:
    """有哪些版本，现在用哪个。 / Which versions there are, and which is served."""
    from models.versions import Versions

    versions = Versions(_served(name), Settings.read().home).all()
    if as_json:
        for version in versions:
            line = {"version": version.name, "served": version.served, "folder": str(version.folder)}
            print_json({**line, "promotion": version.record or None})
    else:
        from app.commands.training_report import print_versions

        print_versions(console(), versions, name, language_of(lang))


@models_app.command("promote")
def models_promote(
    candidate: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FOLDER", help="训练的运行文件夹，或模型文件夹 / Run or model folder.")
    ],
    gate: Annotated[Path, typer.Option(help="考核集：data.yaml 或 labels.json / Photos that decide.")],
    name: NameOption = "lights",
    split: SplitOption = "val",
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="仍要启用，写明理由 / Promote all the same, for this reason.")
    ] = None,
    as_json: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """新模型在考核集上更好才启用。 / Serve a new model, if it does better than the present one on the gate."""
    from training import promote
    from training.served import SERVED

    language = language_of(lang)
    if force is not None and not force.strip():
        fail(say("models.force_needs_reason", language), status=2)
    home = Settings.read().home
    progress = _progress(say("train.looking", language))
    folder, comparison = promote.gate(candidate, gate, split, home, progress, SERVED[_served(name)])
    if not as_json:
        from app.commands.training_report import print_comparison

        print_comparison(console(), comparison, language)
    try:
        version = promote.promote(folder, comparison, str(gate), home, force)
    except promote.PromotionError as error:
        if not as_json:
            raise
        print(error.text.in_(language), file=sys.stderr)
        version = None
    if as_json:
        print_json({"promoted": version, **comparison.to_json()})
        if version is None:
            raise typer.Exit(1)
    else:
        print(say("models.promoted", language, version=version))


@models_app.command("rollback")
def models_rollback(name: NameOption = "lights", lang: LangOption = None) -> None:
    """退回上一个版本。 / Serve the version before the present one."""
    from models.versions import Versions

    version = Versions(_served(name), Settings.read().home).back()
    print(say("models.rolled_back", language_of(lang), version=version))


def _served(name: str) -> str:
    """The name, if there is such a model."""
    from training.served import SERVED

    if name not in SERVED:
        fail(say("train.no_such_model", spoken(), name=name, known=", ".join(SERVED)), status=2)
    return name


def _progress(words: str) -> Progress:
    """A bar on stderr around whatever is gone through, where somebody looks at it."""

    def wrap(things: Iterable[Any]) -> Iterable[Any]:
        from rich.progress import track

        listed = list(things)
        return track(listed, words, console=console(stderr=True), disable=not sys.stderr.isatty())

    return wrap


def _stop_at_errors(dataset: DataSet, classes: Sequence[str], language: Lang) -> None:
    from training.check import check

    report = check(dataset, classes, _progress(say("train.checking", language)))
    if report.must_fix:
        raise user_error("train.data_broken", data=dataset.file)


def _cut(dataset: DataSet, out: Path, note: dict[str, Any], language: Lang) -> tuple[DataSet, dict[str, Any]]:
    """Photos become tiles in RUN/tiles; the note keeps which photos they were."""
    from models import current_folder
    from training.lights import recipe
    from training.tiles import Cut, are_photos, cut_photos, digests
    from training.yolo import Box, DataSet
    from vision.detector import CLUSTER, OnnxDetector

    if not are_photos(dataset):
        return dataset, note
    detector = OnnxDetector.load(current_folder("lights", Settings.read().home))

    def cluster(rgb: Rgb) -> Box | None:
        sure = [d for d in detector.detect(rgb) if d.label == CLUSTER and d.confidence >= detector.threshold(CLUSTER)]
        return sure[0].box if sure else None

    made, how = recipe(), _progress(say("train.cutting", language))
    tiles = cut_photos(dataset, out / "tiles", Cut(made.side, made.view_width), cluster, how)
    return DataSet.read(tiles), {**note, "train_sha256": digests(dataset)}


def _runs(out: Path) -> tuple[Path, Path]:
    """The last of RUN, RUN-2, RUN-3 ..., and the one to come: a run that ended keeps its own best weights."""
    last, number = out, 2
    while (path := out.with_name(f"{out.name}-{number}")).exists():
        last, number = path, number + 1
    return last, path


def _interruptible(train: Callable[[], Any], out: Path) -> Any:  # noqa: ANN401 - what ``train`` returns
    try:
        return train()
    except KeyboardInterrupt:
        print(say("train.go_on", spoken(), out=out), file=sys.stderr)
        raise


def _trained(run: Path, language: Lang) -> None:
    print(say("train.done", language, run=run))


def _write_report(report: Report, threshold: Callable[[str], float], out: Path, language: Lang) -> None:
    from training.evaluate import worst
    from training.sheet import contact_sheet

    try:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report.figures, ensure_ascii=False, indent=2)
        (out / "report.json").write_text(text + "\n", encoding="utf-8")
        if photos := worst(report.seen, threshold):
            contact_sheet(photos, say("evaluate.legend", language)).save(out / "worst.jpg", quality=88)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise user_error("train.cannot_write", path=out, error=reason) from error
    print(say("evaluate.written", language, path=out), file=sys.stderr)
