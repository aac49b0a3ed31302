"""Register the model that `sim-models transfer` has chosen, as a candidate: whoever promotes it trusts it."""

from pathlib import Path

from pipelines.own_study.concluding import DETAILS, STUDY
from pipelines.registry.judging import in_short
from pipelines.registry.own import EXPERIMENT, RECORD, OwnStudy
from pipelines.registry.registering import Candidate
from pipelines.shared.stage import project_root, write_whole
from pipelines.shared.test_cells import Sealed
from sim_models.config import BadInput
from sim_models.evaluation.gate import Verdict
from sim_models.evaluation.model_card import Lineage
from sim_models.restorer import Restorer
from sim_models.tracking.registry import CANDIDATE, CHAMPION, Registry
from sim_models.tracking.runs import COMMIT, Tracker
from sim_models.transfer.study import StudyRecord


def registered(out: Path, name: str | None, licence: str | None) -> list[str]:
    """Register the chosen arm where that is asked for and was not done yet; what to tell about it.

    Args:
        out: the folder of a study that has ended.
        name: of the registered model; None: not asked for.
        licence: of the stacks; None: as the study has it on record.

    Raises:
        BadInput: if the registry does not take it, or the fields of the study are not those any more.
    """
    if name is None:
        return []
    study = OwnStudy.open(out)
    if (before := study.record.registered) is not None and before.startswith(f"{name} version "):
        return [f"registered before as {before}"]
    version, verdict = _register(study, name, licence or study.record.licence)
    known = {"registered": f"{name} version {version}", "licence": licence or study.record.licence}
    write_whole(out / RECORD, study.record.model_copy(update=known).model_dump_json(indent=2) + "\n")
    return [
        f"registered {name} version {version} @{CANDIDATE}; gate: {in_short(verdict)}",
        f'champion, if the gate lets it, by: sim-models registry promote {name} {version} --study {out} --reason "..."',
    ]


def _register(study: OwnStudy, name: str, licence: str | None) -> tuple[int, Verdict]:
    """The version that holds the chosen arm, and what the gate says of it; its champion stays."""
    registry = Registry.open(project_root())
    court = study.court(registry)
    candidate = _candidate(study, name, licence, court.sealed)
    version = candidate.enter(registry)
    champion = registry.holder(name, CHAMPION)
    found = candidate.judge(court)(None if champion == version else champion)
    candidate.describe(registry, version, found)
    return version, found


def _candidate(study: OwnStudy, name: str, licence: str | None, sealed: Sealed) -> Candidate:
    out, ended, prepared = study.folder, study.record, sealed.prepared
    found = StudyRecord.model_validate_json((out / STUDY).read_text())
    folder = out / "arms" / found.chosen
    parent = None if found.chosen == "scratch" else found.source
    commit = Tracker.open(EXPERIMENT, project_root()).tags(ended.run_id).get(COMMIT, "unknown")
    return Candidate(
        name=name,
        folder=folder,
        restorer=Restorer.load(folder),
        sealed=sealed,
        details=out / DETAILS,
        lineage=Lineage(found.chosen, parent, EXPERIMENT, ended.target, ended.data, commit),
        levels=prepared.levels,
        licence=licence,
        run_id=ended.run_id,
    )


def refuse_name(name: str | None) -> None:
    """Refuse what the registry would not take as a name, before hours of training.

    Raises:
        BadInput: with what a name may be.
    """
    if name is not None and (not name.strip() or any(sign in name for sign in "/:@")):
        raise BadInput(f"--register '{name}': a name holds no slash, colon or @, as in sim-lysosomes")
