"""Suites: which cases are timed, how long, and what is allowed. The files are in ``benchmarks/suites``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError, model_validator

from zoo._util.files import content_hash, resource
from zoo._util.validation import explain, load_yaml
from zoo.errors import RegistryError, UnknownNameError, UsageError
from zoo.latency.case import Case, Stage, Weights
from zoo.latency.parity import ParityLimits
from zoo.latency.structures import STRUCTURES, get_structure
from zoo.latency.verdict import Limits
from zoo.registry.labels import Task
from zoo.registry.schema import NAME, Frozen, ModelEntry, Precision, RuntimeName
from zoo.results.latency_record import Asked, Baseline, Scenario, ScenarioName
from zoo.runtimes.base import Variant

if TYPE_CHECKING:
    from zoo.registry import Registry

# Below these a scenario's own percentile has no interval: 368 samples enclose the 99th, 72 the 95th.
_QUERIES: dict[ScenarioName, int] = {"SingleStream": 128, "MultiStream": 128, "Offline": 12, "Video": 300}


class Measure(Frozen):
    """How long and how a case is measured."""

    seconds: float = Field(default=10.0, ge=0)
    """Least duration of the kept slices together."""
    queries: dict[ScenarioName, int] = Field(default_factory=dict)
    """Least number of samples where it differs from 128 (SingleStream, MultiStream), 12 (Offline), 300 (Video)."""
    slice: float = Field(default=1.0, gt=0)
    """Seconds of a turn."""
    images: int | None = Field(default=None, ge=1)
    """A turn is exactly so many images instead of ``slice`` seconds."""
    rounds: int = Field(default=6, ge=2)
    """Least number of kept turns: intervals come from the spread between them."""
    settle: float = Field(default=4.0, ge=1)
    """A case whose figure drifts, or is not known closely enough, goes on up to so many times ``seconds``."""
    most: float = Field(default=240.0, gt=0)
    """Seconds of turns after which a case ends, with whatever it has."""
    warm_up: float = Field(default=10.0, gt=0)
    """Seconds after which a warm-up ends without having become stable."""
    large_pages: bool = True
    """Whether a process that computes on the CPU moves its memory to large pages after it has opened the model (Linux;
    the record says how much of it the system moved)."""
    together: int = Field(default=6, ge=1)
    """Cases that take turns. All of them are loaded at once."""

    def least(self, scenario: Scenario) -> int:
        """Returns the least number of samples of a scenario."""
        return self.queries.get(scenario.name, _QUERIES[scenario.name])


class RuntimeRow(Frozen):
    """One runtime of a suite."""

    runtime: RuntimeName
    device: str = "cpu"
    precisions: tuple[Precision, ...] = ("fp32",)
    streams: tuple[int, ...] = (1,)
    """In Offline; the other scenarios have one query at a time."""
    variant: Variant = "eager"
    """Of torch."""
    only: tuple[str, ...] = ()
    """Names or globs of the models and structures that it is for; all when empty."""

    @model_validator(mode="after")
    def _hangs_together(self) -> RuntimeRow:
        if self.variant != "eager" and self.runtime != "torch":
            raise ValueError(f"{self.runtime} has no variant '{self.variant}'; variants are torch's")
        return self

    def serves(self, model: str) -> bool:
        """Whether it is for a model."""
        return not self.only or any(fnmatchcase(model, pattern) for pattern in self.only)


class SuiteFile(Frozen):
    """One suite. Changing anything that moves a number is a new version."""

    name: str = Field(pattern=NAME)
    version: int = Field(ge=1)
    title: str
    notes: str | None = None
    models: tuple[str, ...] = ()
    """Names or globs of registry models, timed with their published weights."""
    structures: tuple[str, ...] = ()
    """Structures (``zoo/latency/structures.py``), timed with seeded weights."""
    stages: tuple[Stage, ...] = ("encoder",)
    tasks: tuple[tuple[Task, ...], ...] = ((),)
    """Task sets that are timed apart; an empty one is all tasks of the model."""
    runtimes: tuple[RuntimeRow, ...] = Field(min_length=1)
    threads: tuple[int, ...] = (1,)
    scenarios: tuple[Scenario, ...] = Field(min_length=1)
    baseline: Baseline
    fixed: bool = True
    """Whether sessions are opened for the case's batch size only."""
    measure: Measure = Measure()
    limits: Limits = Limits()
    parity: ParityLimits = ParityLimits()

    @model_validator(mode="after")
    def _hangs_together(self) -> SuiteFile:
        if not (self.models or self.structures):
            raise ValueError("give models or structures")
        for scenario in self.scenarios:
            if scenario.name in ("SingleStream", "Video") and scenario.batch != 1:
                raise ValueError(f"{scenario.name} has one image a query")
            if (scenario.name == "Video") != (scenario.fps is not None):
                raise ValueError("fps belongs to Video, and has to be given there")
        if self.structures:
            for name in self.structures:
                try:
                    get_structure(name)
                except UnknownNameError as error:
                    raise ValueError(f"{error.what}; {error.fix}") from None
        return self

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def hash(self) -> str:
        """Hash of the content."""
        return content_hash(self.model_dump(mode="json"), 16)


@cache
def read_suite_file(path: Path) -> SuiteFile:
    """Reads and validates one suite file.

    Raises:
        RegistryError: Not there, not YAML, or not valid; names the file and the key.
    """
    data = load_yaml(path)
    try:
        suite = SuiteFile.model_validate(data)
    except ValidationError as error:
        raise explain(error, str(path), data, SuiteFile) from None
    if path.stem not in (suite.name, suite.ref):
        raise RegistryError(f"the file holds the suite {suite.ref}", where=str(path), fix=f"name it {suite.name}.yaml")
    return suite


def _files() -> list[Path]:
    return sorted(resource("benchmarks/suites").glob("*.yaml"))


def list_suites() -> list[SuiteFile]:
    """Returns the suites, by name."""
    return sorted((read_suite_file(path) for path in _files()), key=lambda s: (s.name, s.version))


def load_suite(ref: str) -> SuiteFile:
    """Returns a suite.

    Args:
        ref: ``openvino`` (its newest version), ``openvino@1``, or the path of a ``.yaml``.

    Raises:
        UnknownNameError: No such suite.
        RegistryError: Its file is not valid.
    """
    if ref.endswith((".yaml", ".yml")):
        return read_suite_file(Path(ref).expanduser())
    name = ref.partition("@")[0]
    found = {s.ref: s for s in list_suites()}
    versions = [s for s in found.values() if s.name == name and ref in (s.name, s.ref)]
    if not versions:
        raise UnknownNameError("suite", ref, {s.name for s in found.values()} | ({*found} if "@" in ref else set()))
    return versions[-1]


def choose(
    suite: SuiteFile, registry: Registry, patterns: Sequence[str], weights: Weights | None
) -> list[str | ModelEntry]:
    """Returns the models to time: registry entries, and names of structures.

    Args:
        suite: Gives them where no pattern does.
        registry: The registry.
        patterns: Names or globs; they may name what the suite does not list.
        weights: ``random``: structures only; ``published``: registry models only; None: both.

    Raises:
        UnknownNameError: A pattern selects nothing.
        UsageError: Nothing is left.
    """
    entries: dict[str, ModelEntry] = {}
    structures: dict[str, str] = {}
    for pattern in patterns or (*suite.models, *suite.structures):
        named = [n for n in STRUCTURES if fnmatchcase(n, pattern)] if weights != "published" else []
        if not patterns and pattern not in suite.structures:
            named = []
        known = [n for n in registry.entries if fnmatchcase(n, pattern)] if weights != "random" else []
        if not patterns and pattern in suite.structures:
            known = []
        if patterns and not named and not known:
            everything = {"random": [*STRUCTURES], "published": [*registry.entries]}
            raise UnknownNameError(
                "model", pattern, everything.get(weights or "", [*registry.entries, *STRUCTURES]), where="registry.yaml"
            )
        structures |= dict.fromkeys(named, "")
        entries |= {n: registry.entries[n] for n in known}
    runnable = [e for e in entries.values() if e.runnable]
    if not runnable and not structures:
        raise UsageError("nothing to time", why=f"suite {suite.ref} and the choice of models leave no runnable one")
    return [*structures, *runnable]


def plan(
    suite: SuiteFile,
    chosen: Iterable[str | ModelEntry],
    *,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    threads: Sequence[int] = (),
    scenarios: Sequence[str] = (),
    seed: int = 0,
) -> list[Case]:
    """Returns the cases of a suite in the order in which they are measured.

    Cases of one thread count and scenario come together, and in them those of one model, so that what is compared
    takes turns.

    Args:
        suite: The suite.
        chosen: From :func:`choose`.
        runtimes: Only these; all when empty.
        precisions: Only these; all when empty.
        threads: Instead of the suite's.
        scenarios: Only those of these names; all when empty.
        seed: Of random weights and inputs.

    Raises:
        UsageError: No case is left.
    """
    chosen = list(chosen)
    cases = [
        case
        for count in threads or suite.threads
        for scenario in suite.scenarios
        if not scenarios or scenario.name in scenarios
        for stage in suite.stages
        for model in chosen
        for case in _of_model(suite, model, count, scenario, stage, seed)
        if (not runtimes or case.asked.runtime in runtimes) and (not precisions or case.asked.precision in precisions)
    ]
    if not cases:
        raise UsageError(f"suite {suite.ref} has no such case", fix="leave runtime=, precision= or scenario= out")
    return list({case.id: case for case in cases}.values())


def _of_model(
    suite: SuiteFile, model: str | ModelEntry, threads: int, scenario: Scenario, stage: Stage, seed: int
) -> Iterator[Case]:
    if isinstance(model, str) and stage == "pipeline" and get_structure(model).contract is None:
        return  # no model says how faces are cropped for it
    sets: list[tuple[Task, ...]] = [()]
    fold = None
    if not isinstance(model, str):
        # The model's own order, so that a set that holds all tasks is the same case as "all".
        sets = [tuple(t for t in model.tasks if not wanted or t in wanted) for wanted in suite.tasks]
        fold = next((w.fold.name for w in model.weights if w.fold), None)
    for tasks in dict.fromkeys(sets):
        if not isinstance(model, str) and not tasks:
            continue
        for row in suite.runtimes:
            if not row.serves(model if isinstance(model, str) else model.name):
                continue
            for precision in row.precisions:
                for streams in row.streams if scenario.name == "Offline" else (1,):
                    asked = Asked(
                        runtime=row.runtime, device=row.device, precision=precision, threads=threads, streams=streams,
                        variant=row.variant,
                    )  # fmt: skip
                    yield Case(
                        model=model if isinstance(model, str) else model.name,
                        weights="random" if isinstance(model, str) else "published", tasks=tasks, fold=fold,
                        stage=stage, asked=asked, scenario=scenario, fixed=suite.fixed, seed=seed,
                    )  # fmt: skip


def groups(cases: Sequence[Case], together: int) -> list[list[Case]]:
    """Returns the cases in groups that take turns: of one thread count and scenario, a model never split if it fits."""
    blocks: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        key: tuple[object, ...] = (case.asked.threads, case.scenario, case.stage, case.model, case.weights, case.tasks)
        blocks.setdefault(key, []).append(case)
    made: list[list[Case]] = []
    last: tuple[object, ...] | None = None
    for key, block in blocks.items():
        if made and last == key[:3] and len(made[-1]) + len(block) <= together:
            made[-1] += block
        else:
            made += [block[i : i + together] for i in range(0, len(block), together)]
        last = key[:3]
    return made
