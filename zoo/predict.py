"""``python -m zoo.predict``: run a model on your own pictures and videos."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from zoo.cli import (
    OF_TASKS,
    OFFLINE,
    REGISTRY,
    Arguments,
    Key,
    boolean,
    one_of,
    path,
    paths,
    positive,
    put,
    run_verb,
    say,
)

SUMMARY = "Run a model on pictures and videos: writes a table, and each of them with the result drawn on it."
EXAMPLE = "python -m zoo.predict model=fer-mini-xception input=photo.jpg"
KEYS = (
    Key("model", "one model's name", required=True),
    Key("input", "pictures, videos or folders, with commas", paths, required=True),
    Key("out", "folder of the table and of what is drawn", path, Path("zoo-predictions")),
    OF_TASKS,
    Key("faces", "all | chosen: every face, or the one that counts by the model's contract",
        one_of("all", "chosen"), "all"),
    Key("fold", "which checkpoint, for models that have one a fold"),
    Key("draw", "false: only the table", boolean, True),
    Key("format", "csv | parquet: the table's form", one_of("csv", "parquet"), "csv"),
    Key("runtime", "onnxruntime | openvino | torch; else the entry's default",
        one_of("onnxruntime", "openvino", "torch")),
    Key("device", "cpu, cuda:0, tensorrt:0, gpu, npu", str, "cpu"),
    Key("precision", "fp32 | bf16 | fp16 | int8", one_of("fp32", "bf16", "fp16", "int8"), "fp32"),
    Key("threads", "cores to use; else all that the process may use", positive),
    OFFLINE,
    REGISTRY,
)  # fmt: skip


def _names(files: Sequence[Path]) -> dict[Path, Path]:
    """Returns the files' names, with the folders below their common one where two names are equal."""
    if len({p.stem for p in files}) == len(files):
        return {p: Path(p.name) for p in files}
    whole = [p.resolve() for p in files]
    common = Path(os.path.commonpath([p.parent for p in whole]))
    return {p: w.relative_to(common) for p, w in zip(files, whole, strict=True)}


def _drawn(names: Mapping[Path, Path], model: str) -> dict[Path, Path]:
    """Returns where each file is drawn: the name with the model's; with the suffix too where two would be one file."""
    from collections import Counter

    from zoo.runs.predict import is_video

    kind = {source: f"{model}.{'mp4' if is_video(source) else 'png'}" for source in names}
    short = {source: name.with_name(f"{name.stem}.{kind[source]}") for source, name in names.items()}
    count = Counter(short.values())
    return {s: p if count[p] == 1 else names[s].with_name(f"{names[s].name}.{kind[s]}") for s, p in short.items()}


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
    found = find_images(given.input, videos=True, but=given.out)
    names = _names(found)
    places = _drawn(names, entry.name)
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
            results = predictor.files(found, only_chosen=given.faces == "chosen", keep_images=given.draw)
            total = count_pictures(found)
            bar = tqdm(results, total=total, unit="img", disable=not sys.stderr.isatty(), file=sys.stderr)
            for source, predictions in groupby(bar, key=lambda p: p.path):
                name, drawn = names[source], given.out / places[source]
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
    videos = sum(map(is_video, found))
    what = f"{pictures} frames and pictures" if videos else f"{pictures} pictures"
    say(f"{what}: {faces} faces, {without} without a face, {problems} not decoded")
    return 1 if problems == pictures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("predict", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
