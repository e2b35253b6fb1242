"""Made-up latency records, registries and published figures for tests of the boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.records import make_record
from zoo.boards.collect import machine_title
from zoo.registry import Registry
from zoo.registry.loading import read_registry_file
from zoo.results.latency_record import (
    Asked,
    Baseline,
    LatencyRecord,
    ModelTimed,
    Percentile,
    Samples,
    Scenario,
    SliceTaken,
    SuiteUsed,
    Verdict,
)
from zoo.results.record import Estimate

HASH = "0" * 64

ENTRIES = f"""
schema_version: 1
models:
  - &model
    name: quick-net
    title: Quick
    family: onnx
    tasks: [au-intensity]
    architecture: quicknet
    parameters: 1200000
    weights: [{{name: w.onnx, format: onnx, sources: ["path:w.onnx"], sha256: "{HASH}", size: 4800000}}]
    preprocess: {{size: [112, 112]}}
    outputs:
      - {{task: au-intensity, tensor: y, labels: [AU01, AU02, AU04, AU05, AU06, AU09, AU12, AU15, AU17, AU20, AU25, AU26]}}
    licence: {{name: MIT, commercial_use: true}}
    trained_on: [{{dataset: bp4d, subjects: all}}]
    status: verified
  - {{<<: *model, name: slow-net, title: Slow, architecture: slownet, parameters: 90000000}}
  - {{<<: *model, name: closed-net, title: Closed, licence: {{name: Research only, commercial_use: false}}, status: unverified}}
  - name: paper-net
    title: Known from a paper
    family: none
    tasks: [au-intensity]
    architecture: unknown
    licence: {{name: unknown, commercial_use: unknown}}
    status: reported-only
"""  # noqa: E501 - YAML

REPORTED = """
schema_version: 1
source: {kind: paper, title: A paper, authors: Someone et al., year: 2023, arxiv: "2301.00001", read_from: text}
tables:
  - table: Table 3
    title: AU intensity on DISFA
    protocol_as_stated: Five folds.
    comparable: {protocol: disfa-intensity-5fold, why: WHY, text: What differs.}
    metric: pcc
    unit: fraction
    columns: [AU01, AU02, AU04, AU05, AU06, AU09, AU12, AU15, AU17, AU20, AU25, AU26]
    average: {title: Avg.}
    shape: [2, 13]
    numbers: 26
    rows:
      - system: Quick
        entry: quick-net
        weights: WEIGHTS
        values: [0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52]
        average: 0.52
      - system: Paper net
        entry: paper-net
        weights: other
        values: [0.60, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60]
        average: 0.60
"""


def registry(folder: Path) -> Registry:
    """Returns a registry of made-up entries."""
    path = folder / "made-up-registry.yaml"
    path.write_text(ENTRIES)
    return Registry({e.name: e for e in read_registry_file(path).models})


def reported(out: Path, *, why: str = "same", weights: str = "same", name: str = "libreface-2023") -> None:
    """Puts a file of published figures beside the records."""
    (out / "reported").mkdir(parents=True, exist_ok=True)
    text = REPORTED.replace("WHY", why).replace("WEIGHTS", weights)
    (out / "reported" / f"{name}.yaml").write_text(text)


def timing(
    model: str = "quick-net",
    median: float = 5.0,
    *,
    runtime: Any = "openvino",
    precision: Any = "fp32",
    threads: int = 1,
    stage: Any = "encoder",
    scenario: str = "SingleStream",
    weights: Any = "published",
    architecture: str = "quicknet",
    cpu: str = "a cpu",
    suite: str = "cpu@1",
    **change: Any,
) -> LatencyRecord:
    """Returns a latency record whose every query took ``median`` milliseconds, give or take a tenth."""
    base = make_record()
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05Z", "run": "r1", "group": 0,
        "suite": SuiteUsed(ref=suite, hash="s" * 16, title="A suite", baseline=Baseline(runtime="torch")),
        "case": "c" * 16,
        "model": ModelTimed(
            name=model, weights=weights, architecture=architecture, input=(112, 112, 3), size=4_800_000,
            parameters=1_200_000,
        ),
        "stage": stage,
        "scenario": Scenario(name=scenario, batch=32 if scenario == "Offline" else 1),  # type: ignore[arg-type]
        "asked": Asked(runtime=runtime, precision=precision, threads=threads),
        "runtime": {
            "runtime": runtime, "version": "1", "device": "cpu", "precision": precision, "threads": threads,
            "streams": 1, "provider": None, "batch": 1,
        },
        "samples": Samples.pack(np.full(10, int(median * 1e6))),
        "slices": tuple(
            SliceTaken(round=i, kept=True, queries=10, images=10, seconds=median / 100, median_ms=median, stolen=0.0,
                       foreign=0.0)
            for i in range(6)
        ),
        "percentiles": tuple(
            Percentile(percent=p, value=median * f, low=median * f * 0.9, high=median * f * 1.1)
            for p, f in ((50, 1.0), (90, 1.2), (95, 1.3), (99, 1.5))
        ),
        "throughput": Estimate(value=1000 / median, low=900 / median, high=1100 / median),
        "peak_rss_mib": 200.0,
        "verdict": Verdict(valid=True),
        "environment": base.environment.model_copy(update={"cpu": cpu}),
        "code": base.code,
    }  # fmt: skip
    return LatencyRecord(**{**fields, **change})


def machine(cpu: str) -> str:
    """Returns the title of a made-up machine."""
    return machine_title(timing(cpu=cpu).environment, "cpu")
