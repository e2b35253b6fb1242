"""A made-up folder of boards with something of everything."""

from __future__ import annotations

from pathlib import Path

from tests.boards.made_up import registry, reported, timing
from tests.helpers.records import make_record
from zoo.boards.collect import Collection, collect
from zoo.results import save_record
from zoo.results.latency_record import Verdict
from zoo.results.record import Estimate, ResultRecord

REF = "disfa-intensity-5fold@1"
HOSTILE = "</script><img src=x onerror=alert(1)>"


def with_interval(record: ResultRecord, half: float) -> ResultRecord:
    """Returns a record whose every interval reaches ``half`` to both sides."""
    (view,) = record.views

    def spread(found: Estimate) -> dict[str, float | None]:
        value = found.value
        return {"low": None if value is None else value - half, "high": None if value is None else value + half}

    scores = []
    for score in view.scores:
        means = {n: getattr(score, n).model_copy(update=spread(getattr(score, n)))
                 for n in ("mean", "mean_defined", "mean_strict")}  # fmt: skip
        scores.append(score.model_copy(update=means))
    return record.model_copy(update={"views": (view.model_copy(update={"scores": tuple(scores)}),)})


def make(out: Path) -> Collection:
    """Writes records, published figures, errata and timings of two machines; returns what is read from them."""
    known = registry(out)
    reported(out)

    def measured(model: str, value: float, half: float = 0.05, **change: object) -> str:
        record = with_interval(make_record(model, value, **change), half)
        entry = known.entries.get(model)
        if entry:
            about = record.model.model_copy(update={"contract": entry.contract_hash, "status": entry.status})
            record = record.model_copy(update={"model": about})
        return save_record(record, out).relative_to(out).as_posix()

    measured("quick-net", 0.55)
    measured("slow-net", 0.85)
    measured("closed-net", 0.70)
    measured("unknown-net", 0.95, 0.01, contamination="in_sample", contamination_note=HOSTILE)
    measured("quick-net", 0.40, created="2025-05-05T00:00:00Z")
    wrong = measured("slow-net", 0.99, 0.005, created="2025-06-06T00:00:00Z")
    (out / "errata.yaml").write_text(
        f"schema_version: 1\nerrata:\n  - {{record: '{wrong}', reason: wrong-weights, text: '{HOSTILE}',"
        " date: 2025-07-07}\n"
    )
    for cpu, factor in (("a cpu", 1.0), ("b cpu", 3.0)):
        for model, median in (("quick-net", 5.0), ("slow-net", 40.0), ("closed-net", 50.0)):
            entry = known.entries[model]
            for runtime in ("openvino", "onnxruntime"):
                made = timing(model, median * factor * (1.0 if runtime == "openvino" else 1.2), cpu=cpu,
                              runtime=runtime, architecture=entry.architecture)  # fmt: skip
                about = made.model.model_copy(update={"contract": entry.contract_hash})
                save_record(made.model_copy(update={"model": about}), out)
    # One more on the first machine, so that it is the one with most timings.
    made = timing("slow-net", 15.0, precision="int8", architecture="slownet")
    about = made.model.model_copy(update={"contract": known.entries["slow-net"].contract_hash})
    save_record(made.model_copy(update={"model": about}), out)
    failed = Verdict(valid=False, reasons=(f"parity failed {HOSTILE}",))
    save_record(timing("quick-net", 1.0, precision="int8", verdict=failed), out)
    return collect(out, registry=known)


def write(files: dict[str, str], out: Path) -> None:
    """Writes pages below a folder."""
    for name, text in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
