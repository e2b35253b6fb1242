"""Result records: their schema, where they are kept, and the environment that they describe."""

from __future__ import annotations

from zoo.results.latency_record import LatencyRecord
from zoo.results.record import ResultRecord
from zoo.results.store import read_latency_record, read_latency_records, read_record, read_records, save_record

__all__ = [
    "LatencyRecord", "ResultRecord", "read_latency_record", "read_latency_records", "read_record", "read_records",
    "save_record",
]  # fmt: skip
