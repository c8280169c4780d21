"""Run models on sets, choose their thresholds, and ask the gate for its verdict.

A model runs on a set in a child process, once: answers are kept by a hash of network and set. The tune set
chooses thresholds and nothing else; the gate sets decide.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.contracts.classes import Category
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Box3D
from fleet.bundle.bundle import Bundle, Tuned, write_bundle
from fleet.catalog import EvaluateFacts, TrustState, VehicleRow
from fleet.dataset.frozen import Dataset, DatasetFile
from fleet.disk import write_whole
from fleet.evaluate import (
    SLICES,
    Contender,
    EpisodeComparison,
    EpisodeRunner,
    EpisodeSpec,
    EvalFrame,
    GateSettings,
    Matches,
    Verdict,
    believed_velocities,
    best_f1_threshold,
    compare_episodes,
    gather_evidence,
    judge_candidate,
    judge_outputs,
    match,
    run_episodes,
    threshold_for,
)
from fleet.evaluate.job import ANSWERS_FILE, DATASET, MODEL, AnswerJob
from fleet.evaluate.predict import ANSWERS_VERSION, Answers, eval_frames
from fleet.model import Model
from fleet.work.process import Progress
from fleet.work.task import Task
from fleet.work.workspace import OnProgress, OnSteps, Workspace, ignore_progress, ignore_steps

_log = logging.getLogger(__name__)

CANDIDATE, INCUMBENT, CONTROL = "candidate", "incumbent", "control"
ANCHOR = "anchor"
"""The shipped baseline, when it is not the incumbent: no class may fall below it, however many laps go by."""
TUNE = "tune"
"""The set that chooses thresholds; all others are gate sets."""


@dataclass(frozen=True)
class Network:
    """A network to be evaluated: an ONNX file and the classes of its channels."""

    file: Path
    categories: tuple[Category, ...]

    @property
    def digest(self) -> str:
        """Hash of all that decides an answer."""
        named = "\0".join(self.categories).encode()
        return hashlib.sha256(self.file.read_bytes() + named).hexdigest()[:16]


def with_anchor(models: Mapping[str, Model], anchor: Model) -> dict[str, Model]:
    """Add the anchor to the models that answer, unless the incumbent is that very network.

    The same comparison is then neither paid for nor counted twice. Answers are kept by the network's hash, so
    an anchor that has answered a set in any earlier lap does not answer it again.
    """
    networks = [model.files.int8.read_bytes() for model in (anchor, models[INCUMBENT])]
    return dict(models) if networks[0] == networks[1] else {**models, ANCHOR: anchor}


def contend(
    workspace: Workspace,
    models: Mapping[str, Model],
    sets: Mapping[str, DatasetFile],
    *,
    size: str,
    on_steps: OnSteps = ignore_steps,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Contender]:
    """Run every model on every set, and match the answers.

    Args:
        workspace: Where.
        models: By name.
        sets: Frozen datasets; ``TUNE`` chooses thresholds, the others are put together for the gate.
        size: Of all the models.
        on_steps: Called for every answered set.
        on_progress: Called with the set that each model answers.

    Raises:
        JobError: A child process failed.
        OperatorError: A set was sensed with a rig that no vehicle carries.
    """
    refuse_other_rigs(workspace, sets)
    networks = {name: Network(model.files.int8, model.categories) for name, model in models.items()}
    listed = tuple(dict.fromkeys(c for model in models.values() for c in model.categories))
    answers = _answers(
        workspace, networks, sets, size=size, on_steps=on_steps, on_progress=on_progress
    )
    data = {name: Dataset(Path(file.path)) for name, file in sets.items()}
    judging = [name for name in sets if name != TUNE]

    def frames(model: str, name: str) -> Iterator[EvalFrame]:
        boxes: Mapping[str, tuple[Box3D, ...]] = answers[model, name].boxes
        return eval_frames(data[name], boxes)

    return {
        model: Contender(
            tune=match(list(frames(model, TUNE)), categories=listed),
            gate=match(
                [frame for name in judging for frame in frames(model, name)], categories=listed
            ),
            open_loop=tuple(
                error for name in judging for error in answers[model, name].open_loop.values()
            ),
            known=models[model].known,
        )
        for model in models
    }


def refuse_other_rigs(workspace: Workspace, sets: Mapping[str, DatasetFile]) -> None:
    """Refuse a set of a calibration that none of the fleet's vehicles carries.

    A fleet without vehicles has nothing to compare with.

    Raises:
        OperatorError: A set was sensed with a rig that no vehicle carries.
    """
    vehicles = workspace.catalog.all(VehicleRow, state=TrustState.ACTIVE)
    carried = {row.rig_id for row in vehicles if row.rig_id is not None}
    for name, file in sets.items():
        strange = sorted(set(Dataset(Path(file.path)).rigs) - carried)
        if carried and strange:
            raise OperatorError(
                f"set {name} ({file.dataset_id}) cannot judge: it was sensed with rig {strange[0][:12]}, "
                f"and the vehicles carry {', '.join(rig_id[:12] for rig_id in sorted(carried))}; "
                "render the set with their rig"
            )


def answer_tune(
    workspace: Workspace,
    network: Network,
    tune: DatasetFile,
    *,
    size: str,
    on_steps: OnSteps = ignore_steps,
) -> Matches:
    """Run one model on the tune set alone: all that its thresholds need.

    Raises:
        JobError: The child process failed.
    """
    answers = _answers(workspace, {"model": network}, {TUNE: tune}, size=size, on_steps=on_steps)
    data = Dataset(Path(tune.path))
    frames = list(eval_frames(data, answers["model", TUNE].boxes))
    return match(frames, categories=network.categories)


def _answers(
    workspace: Workspace,
    models: Mapping[str, Network],
    sets: Mapping[str, DatasetFile],
    *,
    size: str,
    on_steps: OnSteps,
    on_progress: OnProgress = ignore_progress,
) -> dict[tuple[str, str], Answers]:
    cache = workspace.cache / "answers"
    cache.mkdir(parents=True, exist_ok=True)
    outs: dict[tuple[str, str], Path] = {}
    kept: dict[Path, Answers] = {}
    tasks: list[Task] = []
    asked: dict[str, tuple[str, str]] = {}
    said = AnswerCount(len(sets), on_steps, on_progress)
    for model_name, model in models.items():
        digest = model.digest
        for set_name, file in sets.items():
            out = cache / f"{digest}-{file.dataset_id}-{ANSWERS_VERSION}.answers"
            is_asked = out in outs.values()
            outs[model_name, set_name] = out
            found = None if is_asked else _read_answers(out)
            if found is not None:
                kept[out] = found
            if is_asked or found is not None:
                said.answered(model_name)
                continue
            name = f"answer-{model_name}-{set_name}"
            asked[name] = (model_name, set_name)
            inputs = {MODEL: workspace.store.put(model.file), DATASET: file.blob_id}
            job = AnswerJob(size=size, categories=model.categories, dataset_id=file.dataset_id)
            task = Task(name=name, module="fleet.evaluate.job", inputs=inputs, parameters=job)
            tasks.append(task)
    executor = workspace.executor
    executor.run(
        tasks,
        on_start=lambda name: said.answers(*asked[name]),
        on_done=lambda name: said.answered(asked[name][0]),
    )
    for task in tasks:
        result = executor.results(task.name) / ANSWERS_FILE
        write_whole(outs[asked[task.name]], result.read_bytes())
    for out in set(outs.values()) - kept.keys():
        kept[out] = msgspec.msgpack.decode(out.read_bytes(), type=Answers)
    return {key: kept[out] for key, out in outs.items()}


def _read_answers(path: Path) -> Answers | None:
    """Read what a model answered before; None when it did not, or the file is damaged."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Answers)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("cached_answers_dropped", extra={"file": str(path), "reason": str(error)})
        return None


class AnswerCount:
    """Counts the sets that every model has answered, and reports the one that it is at."""

    def __init__(self, sets: int, on_steps: OnSteps, on_progress: OnProgress) -> None:
        """Begin with no answer of any model to ``sets`` sets."""
        self._sets, self._on_steps, self._on_progress = sets, on_steps, on_progress
        self._done: Counter[str] = Counter()

    def answers(self, model: str, set_name: str) -> None:
        """Note that a model begins with a set."""
        progress = Progress(done=self._done[model], total=self._sets, note=f"answers {set_name}")
        self._on_progress(model, progress)

    def answered(self, model: str) -> None:
        """Note that a model has answered one more set, now or in an earlier lap."""
        self._done[model] += 1
        self._on_progress(model, Progress(done=self._done[model], total=self._sets))
        self._on_steps(1)


def choose_thresholds(
    tune: Matches, rare: Sequence[Category], settings: GateSettings
) -> dict[Category, float]:
    """Choose the thresholds that a model ships with: best F1, for rare classes few false alarms."""
    allowed = settings.max_false_alarms_per_clean_frame
    thresholds = {c: best_f1_threshold(tune, c) for c in tune.categories if c not in rare}
    return thresholds | {c: threshold_for(tune, c, allowed) for c in rare}


def tuned(tune: Matches, rare: Sequence[Category], settings: GateSettings) -> Tuned:
    """Compute from the tune set all figures that a bundle carries of its network."""
    thresholds = choose_thresholds(tune, rare, settings)
    return Tuned(thresholds, believed_velocities(judge_outputs(tune, thresholds)))


def drive_episodes(
    runner: EpisodeRunner, episodes: Sequence[EpisodeSpec], bundles: Mapping[str, Bundle], out: Path
) -> EpisodeComparison:
    """Drive candidate and incumbent through the same episodes.

    Raises:
        OperatorError: They did not drive the same episodes.
    """
    results = {}
    for name in (CANDIDATE, INCUMBENT):
        folder = out / f"bundle-{name}"
        write_bundle(bundles[name], folder)
        results[name] = run_episodes(runner, episodes, folder)
    return compare_episodes(results[CANDIDATE], results[INCUMBENT])


def write_verdict(
    workspace: Workspace,
    contenders: Mapping[str, Contender],
    claims: Sequence[str],
    comparison: EpisodeComparison | None,
    settings: GateSettings,
    *,
    judged: Mapping[str, str],
    sets: Mapping[str, str],
) -> Verdict:
    """Ask the gate, and write its verdict down.

    Args:
        workspace: Where.
        contenders: ``CANDIDATE`` and ``INCUMBENT``, ``CONTROL`` where there is one, and ``ANCHOR`` where it
            is not the incumbent.
        claims: Names of the rare slices on which the candidate is said to be better.
        comparison: Of closed-loop episodes; None when none were driven.
        settings: What a candidate must show.
        judged: Run ids of the models by role, for the catalog.
        sets: Ids of the datasets by role, for the catalog.
    """
    evidence = gather_evidence(
        contenders[CANDIDATE],
        contenders[INCUMBENT],
        contenders.get(CONTROL),
        [SLICES[name] for name in claims],
        comparison,
        settings,
        anchor=contenders.get(ANCHOR),
    )
    verdict = judge_candidate(evidence, settings)
    verdict_blob_id = workspace.store.put(verdict.to_json())
    run_id = "e-" + hashlib.sha256(
        msgspec.json.encode(
            (verdict.sha256, {"models": judged, "sets": sets}), order="deterministic"
        )
    ).hexdigest()[:16]  # fmt: skip
    facts = EvaluateFacts(
        models=dict(judged),
        sets=dict(sets),
        decision=str(verdict.decision),
        reasons=tuple(verdict.lines),
        verdict_blob_id=verdict_blob_id,
    )
    workspace.finish_run(run_id, facts)
    return verdict
