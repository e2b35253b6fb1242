"""A result record with plausible content."""

from __future__ import annotations

from typing import Any

from zoo.protocols import load_protocol
from zoo.results.record import (
    Code,
    Cost,
    Coverage,
    DatasetUsed,
    Environment,
    Estimate,
    LabelScore,
    MetricScore,
    ModelUsed,
    ProtocolUsed,
    ResultRecord,
    RuntimeUsed,
    Seeds,
    UsedFile,
    View,
)


def make_record(
    model: str = "a-model", value: float | None = 0.5, *, protocol: str = "disfa-intensity-5fold@1", **change: Any
) -> ResultRecord:
    """Returns a record of a protocol whose every score is ``value``."""
    text = load_protocol(protocol)
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    scores = tuple(
        MetricScore(
            metric=metric, aggregation=aggregation, mean=Estimate(value=value, low=low, high=high),
            mean_defined=Estimate(value=value, low=low, high=high),
            mean_strict=Estimate(value=value, low=low, high=high),
            per_label=tuple(LabelScore(label=x, value=value, low=low, high=high, n=100, n_pos=10) for x in text.labels),
        )
        for metric in text.metrics
        for aggregation in ("pooled", "mean_over_folds")
    )  # fmt: skip
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05Z",
        "model": ModelUsed(
            name=model, contract="c" * 16, preprocess="p" * 16, steps=("detect", "align"),
            weights=(UsedFile(name="w.onnx", sha256="0" * 64),), status="verified",
        ),
        "protocol": ProtocolUsed(ref=text.ref, hash=text.hash),
        "dataset": DatasetUsed(
            name=text.dataset, manifest="m" * 64, identities=text.dataset, synthetic=False, subjects=27, complete=True
        ),
        "task": text.task,
        "contamination": "held_out",
        "coverage": Coverage(expected=1000, samples=1000, detected=990, undetected=10, undecodable=1),
        "views": (View(rule="undetected-as-error", samples=1000, scores=scores),),
        "runtime": RuntimeUsed(
            runtime="openvino", version="2026.1", device="cpu", precision="fp32", threads=2, streams=1,
            provider=None, batch=32
        ),
        "environment": Environment(
            system="Linux", machine="x86_64", cpu="a cpu", cpu_flags=("avx2",), cores_machine=2, cores_usable=2,
            quota=None, governor=None, memory_gib=24.0, gpu=None, python="3.11.7", packages={},
        ),
        "code": Code(version="0.1.0", commit="f" * 40, dirty=False),
        "seeds": Seeds(bootstrap=0, resamples=10_000),
        "cost": Cost(seconds=1.5, resumed=False, peak_rss_mib=100.0),
        "predictions": "k" * 16,
    }  # fmt: skip
    return ResultRecord(**{**fields, **change})
