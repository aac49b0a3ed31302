"""How a model gets into the registry: its version, tags and card, the same whoever registers it."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.registry.judging import DATA_VERSION, SPLIT, Court, Judge
from pipelines.shared.test_cells import Sealed, worst_picture
from sim_models.config import Refused
from sim_models.evaluation.gate import Verdict, as_gate_table
from sim_models.evaluation.model_card import NOT_STATED, Facts, Lineage, card, summary
from sim_models.restorer import Restorer
from sim_models.tracking.registry import CANDIDATE, PARENT, Registry
from sim_models.tracking.runs import WEIGHTS

INPUTS = {
    "raw": "raw SIM stacks",
    "widefield": "wide-field images",
    "reconstruction": "classical SIM reconstructions",
    "raw_and_reconstruction": "raw SIM stacks with their classical reconstruction",
    "raw_and_synthetic": "raw SIM stacks with frames derived from a first guess",
    "volume": "volumes over time",
    "blinking": "blinking frames",
}

NO_LICENCE = (
    "nobody has said under which licence its data are, so no model of them is registered; state `licence` of the "
    "structure in params.yaml or of the dataset in its definition, or --licence ('own' for data that are yours)"
)


@dataclass(frozen=True)
class Candidate:
    """What is to be registered, and all that is said of it there."""

    name: str
    """of the registered model"""
    folder: Path
    """of the restorer"""
    restorer: Restorer
    sealed: Sealed
    """of the fields it was made with"""
    details: Path
    """scores and pictures of the test cells, as `Sealed.score_into` wrote them"""
    lineage: Lineage
    levels: Sequence[str]
    """light levels in the order in which they are told"""
    licence: str | None
    """of its data, where it is stated"""
    run_id: str
    """of the training"""

    def judge(self, court: Court) -> Judge:
        """The gate for it, by the scores it has."""
        return court.of_scores(self.name, as_gate_table(self._scores, self.lineage.arm))

    def enter(self, registry: Registry) -> int:
        """The version that holds its weights, made now unless it is there, with its tags and the alias `candidate`.

        Raises:
            Refused: if nobody has said under which licence its data are.
        """
        if self.licence is None:
            raise Refused(f"{self.name}: {NO_LICENCE}")
        version = registry.find(self.name, WEIGHTS, self.restorer.weights_sha256)
        if version is None:
            field = self.sealed.prepared.fields("val")[0]
            example = {role: field.image(role) for role in self.restorer.recipe.task.roles}
            version = registry.register(self.folder, self.name, self.run_id, self._tags(), "", example)
        registry.give(self.name, CANDIDATE, version)
        registry.tag(self.name, version, {**self._tags(), **self._means()})
        return version

    def describe(self, registry: Registry, version: int, verdict: Verdict) -> None:
        """Write what the gate found, and the model card with its pictures, beside its version."""
        registry.tag(self.name, version, {"sim.gate": verdict.sentence})
        facts = self._facts(version, verdict)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "card.md").write_text(card(facts, self.sealed.evaluation.bootstrap))
            for file in facts.pictures.values():
                shutil.copy(self.details / file, folder)
            registry.describe(self.name, version, summary(facts), folder)

    @property
    def _scores(self) -> pd.DataFrame:
        return pd.read_csv(self.details / "scores.csv")

    def _tags(self) -> dict[str, str]:
        made, recipe, lineage = self.restorer.card, self.restorer.recipe, self.lineage
        light = ", ".join(f"{level} {value:.0f}" for level, value in made.light.items())
        return {
            WEIGHTS: self.restorer.weights_sha256,
            "sim.structure": self.sealed.prepared.structure,
            "sim.task": f"{recipe.task.input} -> {recipe.task.target} x{recipe.task.scale}",
            "sim.network": recipe.network.name,
            "sim.method": recipe.method.name,
            "sim.arm": lineage.arm,
            "sim.light": f"{light} {made.unit}",
            "sim.pixel_um": f"{made.pixel_um:g}",
            PARENT: lineage.parent or "none",
            "sim.frozen": ", ".join(made.frozen_stages) or "none",
            "sim.study": lineage.study,
            "sim.key": lineage.key,
            SPLIT: self.sealed.prepared.split.hash,
            DATA_VERSION: lineage.data,
            "sim.licence": self.licence or NOT_STATED,
            "sim.code": lineage.commit,
        }

    def _means(self) -> dict[str, str]:
        scores = self._scores
        means = scores[scores["arm"] == self.lineage.arm].groupby("metric")["value"].mean()
        return {f"sim.test.{metric}": f"{value:.4g}" for metric, value in means.items()}

    def _facts(self, version: int, verdict: Verdict) -> Facts:
        pictures = {level: worst_picture(self.lineage.arm, level) for level in self.levels}
        return Facts(
            title=f"{self.name} version {version}",
            takes=INPUTS[self.restorer.recipe.task.input],
            restorer=self.restorer,
            example=self.sealed.prepared.fields("val")[0],
            licence=self.licence,
            lineage=self.lineage,
            verdict=verdict,
            scores=self._scores,
            levels=self.levels,
            pictures={level: file for level, file in pictures.items() if (self.details / file).exists()},
        )
