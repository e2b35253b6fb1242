"""A model as a folder for the Hub: ONNX and safetensors that agree with the source, a card, a registry file."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import sha256_of, write_text
from zoo.errors import ContractError, LicenseError, RuntimeUnavailableError, UsageError
from zoo.registry import ModelEntry
from zoo.registry.schema import Licence, WeightFile
from zoo.runs.model_card import OPEN_LICENCES, model_card
from zoo.runs.verify import golden_input

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from zoo.runtimes.base import Session

LICENCE_FILE = "LICENSE"


@dataclass(frozen=True)
class Publication:
    """A folder that is ready to be uploaded.

    Attributes:
        folder: Where it is.
        entries: The entries that its files make, with ``path:`` sources.
        parity: Largest difference of each weights file from the source, relative to the largest output.
    """

    folder: Path
    entries: tuple[ModelEntry, ...]
    parity: dict[str, float]


def may_redistribute(licence: Licence) -> bool | str:
    """Returns whether files under a licence may be passed on: as the registry says, else by the licence's SPDX name.

    Returns:
        True, False, ``ask`` or ``unknown``.
    """
    if licence.redistribution == "unknown" and licence.name in OPEN_LICENCES:
        return True
    return licence.redistribution


def check_licence(entry: ModelEntry, *, own_word: bool) -> None:
    """Refuses to publish what may not be passed on.

    Args:
        entry: The model.
        own_word: The publisher says that they may pass it on; it counts where the registry does not know.

    Raises:
        LicenseError: The licence forbids it, or nobody has said that it allows it.
    """
    licence, allowed = entry.licence, may_redistribute(entry.licence)
    if allowed is False:
        raise LicenseError(
            f"{licence.name} does not allow the weights of {entry.name} to be passed on", where=licence.url,
            why=licence.redistribution_source or licence.note,
            fix=f"point people to python -m zoo.fetch {entry.selector}; if the rights are yours, say "
            "'redistribution: true' under licence: in a registry file of your own and pass it with registry=",
        )  # fmt: skip
    if allowed is not True and not own_word:
        raise LicenseError(
            f"nobody has said that {licence.name} allows the weights of {entry.name} to be passed on",
            where=licence.url, why="; ".join(
                ["publishing gives copies to others", *filter(None, [licence.note, licence.redistribution_source])]
            ),
            fix="read the licence, or ask its owners; if you may pass on copies and converted copies, say "
            "i_may_redistribute=true (it is written into the card as your word)",
        )  # fmt: skip


def prepare_publication(
    entry: ModelEntry,
    locate: Callable[[WeightFile], Path],
    folder: Path,
    repo: str,
    *,
    own_word: bool = False,
    licence_file: Path | None = None,
    results: Sequence[EvalResult] = (),
    threads: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Publication:
    """Writes the folder: every fold as ONNX, torch checkpoints as safetensors too, and what explains them.

    Args:
        entry: The model.
        locate: Gives the verified path of one of its files.
        folder: An empty folder.
        repo: ``owner/name`` of the repository that it is for.
        own_word: The publisher's word that the files may be passed on.
        licence_file: The licence's text, to go along.
        results: Evaluation results for the card.
        threads: Threads of the checks.
        tell: Called with a line for each file that agrees with the source.

    Raises:
        LicenseError: As :func:`check_licence`.
        UsageError: An entry that cannot be run here, or no such licence file.
        WeightsError: A file that cannot be had.
        ContractError: A written file that does not compute what the source does.
        RuntimeUnavailableError: The entry has no form that can be written as ONNX.
        DependencyError: torch, onnxscript or safetensors is needed and not installed.
    """
    if entry.preprocess is None or not entry.runnable:
        raise UsageError(f"'{entry.name}' {entry.no_run}: there is nothing to publish")
    check_licence(entry, own_word=own_word)
    if licence_file is not None and not licence_file.is_file():
        raise UsageError(f"the licence file '{licence_file}' does not exist", fix="license_file=<its text>")
    folds: list[str | None] = [*sorted({w.fold.name for w in entry.weights if w.fold})]
    work = _Work(entry, locate, folder, threads, tell)
    for fold in folds or [None]:
        work.add(fold)
    entries = work.entries()
    if licence_file is not None:
        shutil.copyfile(licence_file, folder / LICENCE_FILE)
    card = model_card(
        entry, entries, repo, parity=work.parity, results=results,
        own_word=own_word and may_redistribute(entry.licence) is not True,
        licence_file=LICENCE_FILE if licence_file is not None else None,
    )  # fmt: skip
    contract = work.contracts.get(None, {"schema_version": 1, "folds": work.contracts})
    write_text(folder / "contract.json", json.dumps(contract, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "run.py", work.script)
    write_text(folder / "README.md", card)
    # The newest commit and the files beside it: a commit cannot name itself, and the hash says which file is meant.
    write_text(folder / "registry.yaml", registry_text(entries, repo, "main", beside=True))
    return Publication(folder, entries, work.parity)


def registry_text(entries: Sequence[ModelEntry], repo: str, revision: str, *, beside: bool = False) -> str:
    """Returns a registry file whose weights are in a Hub repository.

    Args:
        entries: As in :class:`Publication`.
        repo: ``owner/name``.
        revision: 40-hex commit, or ``main``.
        beside: Whether the files may also lie beside the registry file, as in a copy of the repository.
    """
    import yaml

    moved = []
    for entry in entries:
        dump = entry.model_dump(mode="json", exclude_none=True)
        for w in dump["weights"]:
            w["sources"] = [f"hf:{repo}@{revision}:{w['name']}", *([f"path:{w['name']}"] if beside else [])]
        moved.append(ModelEntry.model_validate(dump).model_dump(mode="json", exclude_none=True))
    data = {"schema_version": 1, "models": moved}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


class _Work:
    """Writes one fold after the other."""

    def __init__(
        self, entry: ModelEntry, locate: Callable[[WeightFile], Path], folder: Path, threads: int | None,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        assert entry.preprocess is not None
        self.entry, self.locate, self.folder, self.threads, self.tell = entry, locate, folder, threads, tell
        self.golden: NDArray[np.uint8] = golden_input((*entry.preprocess.size, entry.preprocess.channels))
        self.onnx: list[ModelEntry] = []
        self.safetensors: list[WeightFile] = []
        self.contracts: dict[str | None, dict[str, Any]] = {}
        self.parity: dict[str, float] = {}
        self.script = ""

    def add(self, fold: str | None) -> None:
        """Writes a fold's files and holds each against the source."""
        from zoo.models import select_files
        from zoo.runtimes import default_runtime, open_session

        runtime = default_runtime(self.entry)
        files = self._located(select_files(self.entry, self.entry.tasks, runtime=runtime, fold=fold))
        reference = open_session(self.entry, files, self.entry.tasks, runtime=runtime, threads=self.threads)
        try:
            self._add_onnx(fold, reference)
            self._add_safetensors(fold, reference)
        finally:
            reference.close()

    def entries(self) -> tuple[ModelEntry, ...]:
        """Returns the entry of the ONNX files, and of the safetensors files where there are any."""
        weights = tuple(w for made in self.onnx for w in made.weights)
        change = {"title": f"{self.entry.title} (ONNX)", "weights": weights}
        entries = [_changed(self.onnx[0], name=f"{self.entry.name}-onnx", **change)]
        if self.safetensors:
            entries.append(self._safetensors_entry(self.safetensors))
        return tuple(entries)

    def _located(self, chosen: Sequence[WeightFile]) -> dict[str, Path]:
        return {w.name: self.locate(w) for w in chosen}

    def _add_onnx(self, fold: str | None, reference: Session) -> None:
        from zoo.runtimes import artefact

        chosen = artefact.source_files(self.entry, self.entry.tasks, "onnxruntime", fold)
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as place:
            done = artefact.export_model(
                self.entry, self._located(chosen), self.entry.tasks, Path(place) / "made", runtime="onnxruntime",
                precision="fp32", golden=self.golden, reference=reference, fold=fold, threads=self.threads,
            )  # fmt: skip
            (weights,) = done.entry.weights
            (done.folder / weights.name).replace(self.folder / weights.name)
            self.contracts[fold] = json.loads((done.folder / "contract.json").read_text(encoding="utf-8"))
            script = (done.folder / "run.py").read_text(encoding="utf-8")
        # Of several folds the first serves as the example; the registry file knows the files under one name.
        self.script = self.script or script.replace(f"model={done.entry.name} ", f"model={self.entry.name}-onnx ")
        self.onnx.append(done.entry)
        self._agrees(reference, done.entry, "onnxruntime")

    def _add_safetensors(self, fold: str | None, reference: Session) -> None:
        from zoo.models import select_files

        chosen: tuple[WeightFile, ...] = ()
        with suppress(RuntimeUnavailableError):  # published as a graph: there is no checkpoint to convert
            chosen = select_files(self.entry, self.entry.tasks, runtime="torch", fold=fold)
        chosen = tuple(w for w in chosen if w.format != "json")  # what it says was checked when the model was opened
        if not chosen or any(w.format not in ("torch", "safetensors") for w in chosen):
            return
        written = [self._converted(w) for w in chosen]
        self._agrees(reference, self._safetensors_entry(written), "torch")
        self.safetensors += written

    def _converted(self, file: WeightFile) -> WeightFile:
        from zoo._util.optional import need
        from zoo.models.checkpoints import read_state_dict

        source, target = self.locate(file), self.folder / f"{Path(file.name).stem}.safetensors"
        if target.exists():
            raise UsageError(f"two files of {self.entry.name} would both be '{target.name}'")
        if file.format == "safetensors":
            shutil.copyfile(source, target)
        else:
            # Tensors that share memory are written once each: a safetensors file knows no views.
            state = {name: value.clone().contiguous() for name, value in read_state_dict(file, source).items()}
            need("safetensors.torch", "torch checkpoints are published as safetensors").save_file(
                state, target, metadata={"format": "pt"}
            )
        change: Mapping[str, Any] = {
            "name": target.name, "format": "safetensors", "sources": (f"path:{target.name}",),
            "sha256": sha256_of(target), "git_sha1": None, "size": target.stat().st_size,
        }  # fmt: skip
        return WeightFile.model_validate(file.model_copy(update=change).model_dump())

    def _safetensors_entry(self, weights: Sequence[WeightFile]) -> ModelEntry:
        note = f"Converted from {self.entry.name} (contract {self.entry.contract_hash})."
        return _changed(
            self.entry, name=f"{self.entry.name}-safetensors", title=f"{self.entry.title} (safetensors)",
            weights=tuple(weights), notes=" ".join(filter(None, (note, self.entry.notes))),
        )  # fmt: skip

    def _agrees(self, reference: Session, made: ModelEntry, runtime: str) -> None:
        """Runs written files as their users will, and holds every tensor against the source's.

        Raises:
            ContractError: They differ by more than sums in another order explain.
        """
        from zoo.runtimes import open_session
        from zoo.runtimes.parity import compare, tolerance, worst

        files = {w.name: self.folder / w.name for w in made.weights}
        session = open_session(made, files, made.tasks, runtime=runtime, threads=self.threads)
        try:
            apart = worst(compare(reference, session, self.golden).values())
            limit = tolerance(reference, session)
        finally:
            session.close()
        if not apart <= limit:  # written so that a NaN fails
            raise ContractError(
                f"{', '.join(files)} does not compute what {self.entry.name} does; nothing was published",
                why=f"differs by up to {apart:.1e} of the largest output; the limit is {limit:.0e}",
            )
        for name, path in files.items():
            self.parity[name] = apart
            self.tell(f"{name}: {path.stat().st_size} bytes, within {apart:.1e} of the source")


def _changed(entry: ModelEntry, **change: Any) -> ModelEntry:
    # 'verified' is earned by the files themselves, which nobody has checked yet where they are going.
    return ModelEntry.model_validate(entry.model_copy(update={"status": "unverified", **change}).model_dump())
