"""A stand-in for OpenFace's two programs: their command line, files and ways to fail, and no face analysis.

It is copied as ``FeatureExtraction`` and ``FaceLandmarkImg`` into a folder. ``behaviour.json`` there says how it treats
an input (by the name of its file): ``crash``, ``killed``, ``cut``, ``silent``, ``empty``, ``no-aus``, ``no-face``,
``hang``.
Layout and habits: ``RecorderOpenFace.cpp`` and ``RecorderCSV.cpp``: one row a frame, the CSV file opened with the first
row, the details file always written, exit code 0 for an input that cannot be read.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

INTENSITY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
OCCURRENCE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)
PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}


def value(name, frame, au):
    """What the stand-in measures: two decimals, 0..5, and the same every time."""
    return (sum(map(ord, name)) * 7 + frame * 13 + au * 31) % 501 / 100


def frames_of(path):
    if path.is_dir():
        return sum(p.suffix.lower() in PICTURES for p in path.iterdir())
    import av

    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def row(name, frame, aus):
    said = [value(name, frame, a) for a in INTENSITY] if aus else []
    seen = [float(value(name, frame, a) >= 1) for a in OCCURRENCE] if aus else []
    return [f"{v:.2f}" for v in [*said, *seen]]


def main():
    here, words = Path(sys.argv[0]).resolve().parent, sys.argv[1:]
    sequence = Path(sys.argv[0]).name == "FeatureExtraction"
    inputs = [Path(words[i + 1]) for i, w in enumerate(words) if w in ("-f", "-fdir")]
    out = Path(words[words.index("-out_dir") + 1])
    habits = json.loads((here / "behaviour.json").read_text()) if (here / "behaviour.json").exists() else {}
    with (here / "calls.txt").open("a") as log:
        log.write(" ".join([Path(sys.argv[0]).name, *words]) + "\n")
    for path in inputs:
        name = path.name if path.is_dir() else path.stem
        habit = habits.get(path.name)
        if habit == "hang":
            time.sleep(600)
        if habit == "silent":
            print("Could not open the input file", file=sys.stderr)
            continue
        (out / f"{name}_of_details.txt").write_text(f"Input:{path}\n")
        if habit == "no-face" and not sequence:
            continue
        aus = "-aus" in words and habit != "no-aus"
        tail = [f"AU{a:02d}_r" for a in INTENSITY] + [f"AU{a:02d}_c" for a in OCCURRENCE] if aus else []
        first = ["frame", "face_id", "timestamp", "confidence", "success"] if sequence else ["face", "confidence"]
        with (out / f"{name}.csv").open("w") as file:
            if habit == "empty":
                continue
            file.write(",".join([*first, *tail]) + "\n")
            if not sequence:
                if habit == "crash":
                    print("Segmentation fault", file=sys.stderr)
                    sys.exit(134)
                file.write(",".join(["0", "0.98", *row(name, 1, aus)]) + "\n")
                continue
            count = frames_of(path)
            for frame in range(1, count + 1):
                if habit in ("crash", "killed", "cut") and frame > count // 2:
                    break
                lost = habit == "no-face" and frame % 5 == 0
                cells = ["0.00"] * len(tail) if lost else row(name, frame, aus)
                stamp = f"{(frame - 1) / 20:.3f}"
                file.write(
                    ",".join([str(frame), "0", stamp, "0" if lost else "0.98", str(int(not lost)), *cells]) + "\n"
                )
        if habit == "crash":
            print("terminate called after throwing an instance of 'cv::Exception'", file=sys.stderr)
            sys.exit(134)
        if habit == "killed":
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)


main()
