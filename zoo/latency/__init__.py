"""Latency: scenarios after MLPerf's LoadGen, each measurement in a process of its own, and a verdict on each.

A figure is published as valid only when the machine was left alone while it was taken and the artefact's outputs agree
with the reference's. ``python -m zoo.bench`` is how people use it.
"""

from __future__ import annotations
