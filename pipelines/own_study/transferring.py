"""Carry a model to a person's own stacks: what `sim-models transfer` does.

Everything under way lies in `<out>/.work`, each piece under the digest of what it was made from: copies of the sources,
prepared fields, states of trials. A study that was interrupted finds them again; one that has ended takes them away,
but for the prepared fields, which become `<out>/fields`: they judge its models.
"""

import logging
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import sim_models
from pipelines.onboarding.bringing import bring_in
from pipelines.onboarding.cells import Survey, survey
from pipelines.onboarding.reading import Reading, declared_for
from pipelines.own_files.stacks import Stated
from pipelines.own_study import choosing, concluding
from pipelines.own_study.candidate import registered
from pipelines.own_study.choosing import Source, Target
from pipelines.own_study.estimating import Pace, Plan, plan, probe, seconds, sentence
from pipelines.own_study.out_folder import Place, open_place, refuse_place
from pipelines.own_study.screen import meter, note, warn
from pipelines.own_study.steps import Steps, kept_steps
from pipelines.own_study.study_settings import Changes, TransferSettings, fitted, read_settings
from pipelines.registry.own import EXPERIMENT, FIELDS, MADE_BY, TransferRecord
from pipelines.registry.registering import NO_LICENCE
from pipelines.shared.brought import Brought, what_was_brought
from pipelines.shared.logbook import Logbook
from pipelines.shared.stage import digest, project_root, write_whole
from pipelines.shared.test_cells import Sealed, log_scores, open_test_cells
from sim_models.config import Refused
from sim_models.field import FrameOrder
from sim_models.restorer import Restorer
from sim_models.sources.layouts.level_folders import Settings as Layout
from sim_models.sources.prepared import SPLIT, Prepared
from sim_models.sources.split import split_by_cell
from sim_models.tracking.runs import WEIGHTS, Run, Tracker
from sim_models.training.distributed import cluster
from sim_models.training.job import Job
from sim_models.transfer.search import Stretch
from sim_models.transfer.study import ARMS, Listener, Sources, Study, StudyRecord, jobs_of
from sim_models.transfer.trials import Trials

LONG_SECONDS = 600.0
"""a study that takes longer is asked about"""


@dataclass(frozen=True)
class Options:
    """What a person asks for beside target and output."""

    sources: tuple[str, ...]
    """none: every champion that fits"""
    settings: Path | None
    changes: Changes
    order: FrameOrder
    stated: Stated
    layout: tuple[int | None, int | None]
    """angles and phases"""
    dry_run: bool
    register: str | None
    """name of a registered model"""
    licence: str | None
    """of the stacks, for its card"""


Agreed = Callable[[str], bool]
"""Asks a person whether to go on"""


def transfer(target: Path, out: Path, options: Options, agreed: Agreed) -> list[str]:
    """Run a study, or what is left of it, and return what to tell at its end.

    Args:
        target: a person's own stacks (see `sim_models.sources.layouts.level_folders`), or prepared fields.
        out: the folder to write.
        options: what else is asked for.
        agreed: asked before a long study starts.

    Raises:
        BadInput: if something that was given cannot be used; what had been trained by then stays.
        KeyboardInterrupt: if it was interrupted or killed; called again, it goes on.
    """
    settings = read_settings(options.settings, options.changes)
    refuse_place(out, target)
    # Refuses before anything is fetched.
    files = None if (target / SPLIT).is_file() else survey(Layout(name="level_folders", folder=target))
    with _interruptible(), open_place(out) as place:
        named = bool(options.sources)
        into = place.work / "sources"
        found = choosing.named(options.sources, into) if named else choosing.champions(into)
        reading = None if files is None else _reading(files, options, settings, found if named else [])
        key = _key(target, settings, reading, found)
        if place.ended(key) is not None:
            note(f"{out}: this study has ended before; nothing is done again")
            return registered(out, options.register, options.licence) + concluding.conclusion(out)
        if options.register and not options.licence:
            raise Refused(f"--register {options.register}: {NO_LICENCE}")
        if options.dry_run and options.register:
            note("--register has no effect with --dry-run")
        data, prepared, brought = _fields(target, files, reading, settings, place)
        facts = Target.of(prepared)
        sources, misfits = choosing.fitting(found, facts, named)
        _tell(brought, misfits, choosing.doubts(sources, facts))
        inquiry = _Inquiry(target, out, options, settings, key, data, prepared, brought, sources, facts)
        return inquiry.carry_out(place, agreed)


@dataclass(frozen=True)
class _Inquiry:
    """A study with all that it is made of."""

    target: Path
    out: Path
    options: Options
    settings: TransferSettings
    key: str
    data: str
    prepared: Prepared
    brought: Brought
    sources: Sequence[Source]
    facts: Target

    def carry_out(self, place: Place, agreed: Agreed) -> list[str]:
        """Estimate, ask, train, write."""
        study, planned = self._study(place)
        with cluster():
            _interruptible_again()
            pace = self._pace(study, place)
            done = kept_steps(study.trials.folder)
            print(sentence(planned, pace, done), flush=True)
            if self.options.dry_run:
                return []
            left = seconds(planned, pace, done)
            if left > LONG_SECONDS and not agreed("go on?"):
                return ["nothing was trained; fewer --steps, --trials, --seeds or --cells take less time"]
            return self._run(study, planned, place)

    def _study(self, place: Place) -> tuple[Study, Plan]:
        networks = [source.restorer.network for source in self.sources]
        divisors = [network.divisor for network in networks]
        prepared = self.prepared.towards(self.sources[0].restorer.recipe.task.target)
        cells = len(prepared.split.train)
        adapted, notes = fitted(self.settings.study, self.facts.edge_px, divisors, cells)
        for text in notes:
            note(text)
        trials = Trials(place.work / "trials" / self.key)
        study = Study(
            adapted,
            prepared,
            str(self.prepared.folder.resolve()),
            trials,
            self.settings.evaluation.bootstrap,
            Listener(lambda _trial: None, lambda _name, _job, _stretch: None),
        )
        return study, plan(adapted, study.sizes(), max(len(network.stages()) for network in networks))

    def _pace(self, study: Study, place: Place) -> Pace:
        """As measured when the study was started first."""
        kept = place.work / f"pace-{self.key}.json"
        if kept.exists():
            return Pace.model_validate_json(kept.read_text())
        first = self.sources[0]
        scratch, finetune = jobs_of(study.settings, first.restorer.recipe, study.folder, first.folder)
        pace = probe(scratch, finetune, place.work)
        write_whole(kept, pace.model_dump_json())
        return pace

    def _run(self, study: Study, planned: Plan, place: Place) -> list[str]:
        # MLflow tells how it makes its tables.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        tracker = Tracker.open(EXPERIMENT, project_root())
        name = self.prepared.structure
        execution = place.once(f"execution-{self.key}", lambda: uuid.uuid4().hex)
        data = {"sim.structure": name, "sim.data": self.data, "sim.split": self.prepared.split.hash}
        sources = {"sim.source": ", ".join(source.name for source in self.sources)}
        values = self.settings.model_dump(mode="json") | {"study": study.settings.model_dump(mode="json")}
        key = digest(execution, "study")
        with (
            tracker.run(f"transfer {name}", key, values, {"sim.kind": "study", **data, **sources}) as run,
            meter("training steps", planned.steps) as counted,
        ):
            run.dataset(self.target, self.prepared.split.hash, "training")
            counted.start_at(kept_steps(study.trials.folder))
            logged = place.work / f"logged-{self.key}"
            logbook = Logbook(tracker, run, execution, logged, study.trials, data)
            result = place.fresh("result")
            record = self._trained(study, logbook, Steps(counted), result / "arms")
            self._write(record, logbook, result)
        place.move(result, self.prepared.folder, self._record(run, place))
        said = registered(self.out, self.options.register, self.options.licence)
        place.clear()
        return [*said, *concluding.conclusion(self.out)]

    def _trained(self, study: Study, logbook: Logbook, steps: Steps, arms: Path) -> StudyRecord:
        def fit(name: str, job: Job, stretch: Stretch) -> None:
            steps.ended(job, stretch)
            logbook.fit(name, job, stretch)

        trials = Trials(study.trials.folder, steps.trained)
        listening = replace(study, trials=trials, listener=Listener(logbook.trial, fit))
        return listening.run(Sources({source.name: source.folder for source in self.sources}), arms)

    def _write(self, record: StudyRecord, logbook: Logbook, result: Path) -> None:
        """Everything but the record that says it has ended."""
        settings, details, run = self.settings, result / concluding.DETAILS, logbook.study
        (result / concluding.STUDY).write_text(record.model_dump_json(indent=2) + "\n")
        arms: dict[str, Restorer] = {arm: Restorer.load(result / "arms" / arm) for arm in ARMS}
        sealed = Sealed(self.prepared, self.data, settings.evaluation, settings.reconstruction)
        details.mkdir()
        with open_test_cells(
            sealed, arms, f"evaluate {record.structure}", logbook.tracker, run
        ) as evaluation:
            log_scores(evaluation, sealed.score_into(details, arms), details)
        concluding.write_page(result, f"Transfer to {record.structure}", settings.evaluation.bootstrap)
        run.tags({WEIGHTS: arms[record.chosen].weights_sha256})
        logbook.concluded(record)

    def _record(self, run: Run, place: Place) -> TransferRecord:
        fields = self.prepared.folder
        return TransferRecord(
            made_by=MADE_BY,
            key=self.key,
            target=self.prepared.structure,
            data=self.data,
            split=self.prepared.split.hash,
            fields=FIELDS if place.is_mine(fields) else str(fields.resolve()),
            fields_digest=digest(fields),
            reconstruction=self.settings.reconstruction,
            evaluation=self.settings.evaluation,
            gate=self.settings.gate,
            licence=self.options.licence,
            sources={source.name: source.restorer.weights_sha256 for source in self.sources},
            left_out=self.brought.left_out,
            run_id=run.id,
            registered=None,
        )


def _reading(
    files: Survey, options: Options, settings: TransferSettings, sources: Sequence[Source]
) -> Reading:
    """Frames are laid out as a named source takes them, unless a person says otherwise."""
    layout = options.layout
    if sources and layout == (None, None):
        card = sources[0].restorer.card
        layout = card.angles, card.phases
    return Reading(declared_for(files, layout, options.order), options.stated, settings.reconstruction)


def _key(target: Path, settings: TransferSettings, reading: Reading | None, sources: Sequence[Source]) -> str:
    """Digest of all that decides what a study comes to."""
    weights = ",".join(source.restorer.weights_sha256 for source in sources)
    decisive = settings.model_dump_json(exclude={"gate"})
    return digest(decisive, repr(reading), weights, target, Path(sim_models.__file__).parent)


def _fields(
    target: Path, files: Survey | None, reading: Reading | None, settings: TransferSettings, place: Place
) -> tuple[str, Prepared, Brought]:
    """Digest of the data, the prepared fields, and what a person should know of them."""
    data = digest(target)
    if files is None or reading is None:
        return data, Prepared.open(target), Brought(left_out={}, notes=(), licence=None)
    name = target.resolve().name
    how = digest(data, repr(reading), repr(settings.split), Path(sim_models.__file__).parent)
    into = place.work / "fields" / how / name
    if (into / SPLIT).exists():
        return data, Prepared.open(into), what_was_brought(into)
    with meter("stacks read", len(files.cells)) as counted:
        brought = bring_in(
            files,
            name,
            reading,
            lambda cells: split_by_cell(cells, settings.split, str(target)),
            into,
            lambda _done, _total: counted.add(1),
        )
    return data, Prepared.open(into), brought


def _tell(brought: Brought, misfits: Sequence[str], doubts: Sequence[str]) -> None:
    for cell, reason in brought.left_out.items():
        warn(f"{cell} is left out: {reason}")
    for text in (*brought.notes, *doubts):
        warn(text)
    for text in misfits:
        note(text)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Being killed is an interruption like any other, also while Ray starts, which then ends the process itself."""
    before = signal.getsignal(signal.SIGTERM)
    _interruptible_again()
    try:
        yield
    except SystemExit as ended:
        if ended.code == signal.SIGTERM:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _interruptible_again() -> None:
    """Ray puts a handler of its own in the place of ours."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
