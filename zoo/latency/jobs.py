"""From a case to its job: the files that it needs are located."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.errors import RuntimeUnavailableError, ZooError
from zoo.latency.case import Case, Job
from zoo.latency.structures import get_structure
from zoo.registry import ModelEntry, Registry
from zoo.registry.schema import WeightFile


class Jobs:
    """Makes jobs of cases: locates the files that each needs.

    Args:
        entries: Registry models by name.
        registry: Where they come from.
        offline: Make no request.
    """

    def __init__(self, entries: Mapping[str, ModelEntry], registry: Registry, offline: bool | None = None) -> None:
        self._entries, self._registry, self._offline = entries, registry, offline
        self._located: dict[tuple[str, str], str | ZooError] = {}

    def make(self, case: Case) -> Job:
        """Returns the job of a case.

        Raises:
            RuntimeUnavailableError: The model has nothing that the runtime can run in that precision.
            WeightsMissingError: A file is not to be had.
        """
        if case.weights == "random":
            if case.asked.precision == "int8" and case.asked.runtime == "torch":
                raise RuntimeUnavailableError("torch has no int8 here", fix="use runtime=openvino or onnxruntime")
            model = get_structure(case.model).contract if case.stage == "pipeline" else None
            return Job(case=case, preprocess=self._registry.get(model).preprocess if model else None)
        from zoo.models import select_files

        entry = self._entries[case.model]
        files = select_files(
            entry, case.tasks, runtime=case.asked.runtime, precision=case.asked.precision, fold=case.fold
        )
        return Job(case=case, entry=entry, files={f.name: self._locate(entry, f) for f in files})

    def _locate(self, entry: ModelEntry, file: WeightFile) -> str:
        from zoo.weights import locate

        key = entry.name, file.name
        if key not in self._located:
            try:
                path = locate(file, entry=entry, base=self._registry.base(entry.name), offline=self._offline)
                self._located[key] = str(path)
            except ZooError as error:  # asked for once, not once for each runtime, scenario and thread count
                self._located[key] = error
        found = self._located[key]
        if isinstance(found, ZooError):
            raise found
        return found

    def exports(self, job: Job) -> bool:
        """Whether opening the job may make something that is kept: a graph exported from torch, pictures."""
        if job.case.stage == "pipeline":
            return True
        if job.case.asked.runtime == "torch":
            return False
        graphs = ("onnx", "tflite", "openvino-ir")
        return job.entry is None or any(w.format not in graphs for w in job.entry.weights if w.name in job.files)
