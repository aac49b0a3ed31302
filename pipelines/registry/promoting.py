"""What the commands `sim-models registry` do: the family of models, promotion through the gate, cards."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.registry.judging import Court, in_short
from pipelines.registry.own import RECORD, OwnStudy
from pipelines.registry.pipeline import PARAMS, court_of
from pipelines.shared.stage import project_root
from sim_models.config import BadInput, Refused
from sim_models.evaluation.report import MAIN
from sim_models.tracking.champions import ROLLED_BACK, Champions
from sim_models.tracking.registry import CHAMPION, Registry, Version


@dataclass(frozen=True)
class Kin:
    """A version in the family tree."""

    name: str
    version: int
    parent: str | None
    aliases: tuple[str, ...]
    arm: str
    frozen: str
    psnr_db: float | None
    """mean on its test cells, when it was registered"""
    rolled_back: str | None
    children: "tuple[Kin, ...]"

    def lines(self, depth: int = 0) -> list[str]:
        """This version, and below it its children."""
        branch = "   " * (depth - 1) + " |- " if depth else ""
        aliases = "".join(f" @{alias}" for alias in self.aliases)
        made = self.arm if self.frozen == "none" else f"{self.arm}, frozen {self.frozen}"
        psnr = "" if self.psnr_db is None else f"  PSNR {self.psnr_db:.2f} dB"
        back = f"  rolled back {self.rolled_back}" if self.rolled_back else ""
        own = f"{branch}{self.name} v{self.version}{aliases}  ({made}){psnr}{back}"
        return [own, *(line for child in self.children for line in child.lines(depth + 1))]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def opened() -> Registry:
    """The registry of this project, or of `MLFLOW_TRACKING_URI`."""
    return Registry.open(project_root())


def family(registry: Registry, name: str | None = None) -> list[Kin]:
    """All versions of all models or of one, each below the one it came from; on top those whose parent is not there.

    Raises:
        BadInput: if there is no such model.
    """
    versions = registry.all_versions() if name is None else registry.versions(name)
    titles = {version.title for version in versions}
    children: dict[str, list[Version]] = {}
    for version in versions:
        if version.parent is not None:
            children.setdefault(version.parent, []).append(version)
    return [_kin(each, children) for each in versions if each.parent not in titles]


def _kin(version: Version, children: Mapping[str, Sequence[Version]]) -> Kin:
    tags = version.tags
    psnr = tags.get(f"sim.test.{MAIN}")
    return Kin(
        version.name,
        version.number,
        version.parent,
        version.aliases,
        tags.get("sim.arm", "unknown"),
        tags.get("sim.frozen", "none"),
        None if psnr is None else float(psnr),
        tags.get(ROLLED_BACK),
        tuple(_kin(each, children) for each in children.get(version.title, ())),
    )


def promote(name: str, version: int, by: str, reason: str, again: bool, study: Path) -> str:
    """Promote a version if the gate of a study lets it, and say what came of it.

    Candidate and champion are both scored anew on the study's sealed test cells.

    Args:
        name: of the registered model.
        version: what is to be champion.
        by: who wants it.
        reason: why.
        again: also where it was rolled back.
        study: the folder of the study, of the pipeline or of `sim-models transfer`.

    Raises:
        BadInput: if the version is not there, or the folder is no study that could judge it.
        Refused: if the gate, or an earlier rollback, says no; that stands in the history too.
    """
    registry = opened()
    wanted = registry.version(name, version)
    if CHAMPION in wanted.aliases:
        return f"{name} version {version} is champion already; nothing changed"
    gate = _court(study, wanted, registry).anew(wanted)
    decision = Champions(registry, name).promote(version, gate, by, reason, again)
    if not decision.champion or decision.judgement is None:
        stays = f"version {decision.before} stays champion" if decision.before else "there is no champion"
        advice = "" if decision.judgement else ". If you mean it, say --again"
        raise Refused(f"{name} version {version} {decision.sentence}; {stays}{advice}")
    registry.tag(name, version, {"sim.gate": decision.sentence})
    before = f" in place of version {decision.before}" if decision.before else ""
    return f"{name} version {version} is champion{before}; gate: {in_short(decision.judgement)}"


def _court(study: Path, wanted: Version, registry: Registry) -> Court:
    """By what a version is judged in the folder of a study."""
    if (study / RECORD).is_file():
        return OwnStudy.open(study).court_for(wanted, registry)
    if (study / PARAMS).is_file():
        return court_of(study, wanted.name, registry)
    raise BadInput(
        f"{study.absolute()}: is no folder of a study, so there are no test cells to judge {wanted.title} by; give "
        f"with --study the folder in which {PARAMS} lies, or the one that sim-models transfer wrote"
    )


def read_card(model: str) -> str:
    """The card of a registered model, and below it how it stands now.

    Raises:
        BadInput: if there is no such model, or it has no card.
    """
    registry = opened()
    version = _named(registry, model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = registry.card(f"models:/{version.name}/{version.number}", Path(temporary))
        text = (folder / "card.md").read_text()
    aliases = ", ".join(version.aliases) or "none"
    lines = [f"* aliases: {aliases}"]
    if back := version.tags.get(ROLLED_BACK):
        lines.append(f"* rolled back {back}")
    return "\n".join([text, "## Now\n", *lines])


def _named(registry: Registry, model: str) -> Version:
    """The version that `NAME@ALIAS`, `NAME/VERSION` or either with `models:/` before it means."""
    found = re.fullmatch(r"(?:models:/)?([^@/]+)(?:@([^@/]+)|/(\d+))", model)
    if found is None:
        raise BadInput(f"'{model}' names no registered model; say NAME@champion or NAME/VERSION")
    name, alias, number = found.groups()
    if number is not None:
        return registry.version(name, int(number))
    for version in registry.versions(name):
        if alias in version.aliases:
            return version
    raise BadInput(f"{name}: no version holds the alias '{alias}'; see `sim-models registry tree`")
