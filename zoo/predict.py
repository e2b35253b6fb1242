"""``python -m zoo.predict``: run a model on your own pictures and videos."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from zoo.cli import OFFLINE, REGISTRY, Arguments, Key, boolean, one_of, path, positive, put, run_verb, say, words

SUMMARY = "Run a model on pictures and videos: writes a table, and each of them with the result drawn on it."
EXAMPLE = "python -m zoo.predict model=fer-mini-xception input=photo.jpg"
KEYS = (
    Key("model", "one model's name", required=True),
    Key("input", "pictures, videos or folders, with commas", words, required=True),
    Key("out", "folder of the table and of what is drawn", path, Path("zoo-predictions")),
    Key("tasks", "au-intensity, au-occurrence, expression, valence-arousal; else all of the model's", words, ()),
    Key("faces", "all | chosen: every face, or the one that counts by the model's contract",
        one_of("all", "chosen"), "all"),
    Key("fold", "which checkpoint, for models that have one a fold"),
    Key("draw", "false: only the table", boolean, True),
    Key("format", "csv | parquet: the table's form", one_of("csv", "parquet"), "csv"),
    Key("runtime", "onnxruntime | openvino | torch; else the entry's default",
        one_of("onnxruntime", "openvino", "torch")),
    Key("device", "cpu, cuda:0, gpu, npu", str, "cpu"),
    Key("precision", "fp32 | bf16 | fp16 | int8", one_of("fp32", "bf16", "fp16", "int8"), "fp32"),
    Key("threads", "cores to use; else all that the process may use", positive),
    OFFLINE,
    REGISTRY,
)  # fmt: skip


def _names(paths: Sequence[Path]) -> dict[Path, Path]:
    """Returns the files' names, with the folders below their common one where two names are equal."""
    if len({p.stem for p in paths}) == len(paths):
        return {p: Path(p.name) for p in paths}
    whole = [p.resolve() for p in paths]
    common = Path(os.path.commonpath([p.parent for p in whole]))
    return {p: w.relative_to(common) for p, w in zip(paths, whole, strict=True)}


def _body(given: Arguments) -> int:
    from tqdm import tqdm

    from zoo._util.files import atomic_path
    from zoo.faces.draw import annotate, annotate_frame
    from zoo.faces.encode import write_video
    from zoo.registry import load_registry
    from zoo.runs import Settings
    from zoo.runs.predict import Predictor, count_pictures, find_images, is_video
    from zoo.runs.predict_table import columns, open_table, rows

    registry = load_registry(given.registry)
    entry = registry.get(given.model)
    paths = find_images(given.input, videos=True)
    names = _names(paths)
    settings = Settings(
        runtime=given.runtime,
        device=given.device,
        precision=given.precision,
        threads=given.threads,
        offline=given.offline,
    )
    predictor = Predictor(entry, registry, settings, tasks=given.tasks, fold=given.fold)
    info = predictor.info
    say(f"{entry.name}: {info.runtime} {info.version}, {info.device} {info.precision}, "
        f"{info.threads * info.streams} threads")  # fmt: skip
    if entry.status == "unverified":
        say("warning: the entry is unverified (python -m zoo.show says why)")
    blank = {t: dict.fromkeys(entry.output(t).labels, float("nan")) for t in predictor.tasks}
    pictures = faces = without = problems = 0
    target = given.out / f"{entry.name}.{given.format}"
    try:
        with ExitStack() as whole:
            part = whole.enter_context(atomic_path(target))
            write = whole.enter_context(open_table(part, columns(entry, predictor.tasks), given.format))
            found = predictor.files(paths, only_chosen=given.faces == "chosen", keep_images=given.draw)
            total = count_pictures(paths)
            bar = tqdm(found, total=total, unit="img", disable=not sys.stderr.isatty(), file=sys.stderr)
            for source, predictions in groupby(bar, key=lambda p: p.path):
                name = names[source]
                drawn = given.out / name.parent / f"{name.stem}.{entry.name}.{'mp4' if is_video(source) else 'png'}"
                with ExitStack() as file:
                    add = None
                    for number, item in enumerate(predictions):
                        if number and item.frame is None:  # about the whole video, after its frames
                            say(f"warning: {item.problem}")
                            continue
                        for row in rows(entry, predictor.tasks, item, name.as_posix()):
                            write(row)
                        pictures += 1
                        if item.problem:
                            problems += 1
                            say(f"warning: {item.problem}")
                        elif item.faces is not None:
                            faces += len(item.faces)
                            without += not len(item.faces)
                        if item.image is None or item.faces is None:
                            continue
                        if is_video(source):
                            frame = annotate_frame(item.image, item.faces, item.results, blank)
                            add = add or file.enter_context(write_video(drawn, frame.size))
                            add(frame, item.seconds)
                        else:
                            with atomic_path(drawn) as temporary:
                                annotate(item.image, item.faces, item.results).save(temporary, format="PNG")
                            put(str(drawn))
                if add is not None:
                    put(str(drawn))
    finally:
        predictor.close()
    put(str(target))
    videos = sum(map(is_video, paths))
    what = f"{pictures} frames and pictures" if videos else f"{pictures} pictures"
    say(f"{what}: {faces} faces, {without} without a face, {problems} not decoded")
    return 1 if problems == pictures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("predict", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
