"""How a version is judged: it and the champion are scored on the same sealed test fields, and the gate decides."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.shared.test_cells import Sealed, open_test_cells
from sim_models.config import BadInput
from sim_models.evaluation.gate import CHAMPION as CHAMPION_ARM
from sim_models.evaluation.gate import MODEL, Check, GateSettings, Verdict, judge
from sim_models.restorer import Restorer
from sim_models.tracking.registry import Registry, Version
from sim_models.tracking.runs import Tracker

SPLIT, DATA_VERSION = "sim.split", "sim.data"
"""tags: hash of the split a version was made with, and of its data"""
SEEN = "the champion was made with another split, so it may have learned from these test cells"

Judge = Callable[[int | None], Verdict]
"""what the gate says of a version that would replace a champion, if there is one"""


@dataclass(frozen=True)
class Court:
    """By what versions are judged: sealed test cells, the gate, and where it is counted that cells were opened."""

    registry: Registry
    sealed: Sealed
    gate: GateSettings
    tracker: Tracker

    def of_scores(self, name: str, own: pd.DataFrame) -> Judge:
        """The gate for a model that was scored on these test cells before.

        The champion it is given is scored anew, for that may come from other data.
        """

        def verdict(champion: int | None) -> Verdict:
            arms, unread = self._champion(name, champion)
            tables = [own, self._scores(f"judge by {name} version {champion}", arms)] if arms else [own]
            return self._verdict(name, champion, pd.concat(tables, ignore_index=True), unread)

        return verdict

    def anew(self, wanted: Version) -> Judge:
        """The gate for a registered version: both are scored when it is asked, so under the lock.

        Raises:
            BadInput: if the version may have learned from these test cells.
        """
        recorded = wanted.tags.get(SPLIT, "none")
        if self.sealed.prepared.split.hash != recorded:
            raise BadInput(
                f"{self.sealed.prepared.folder}: its split is {self.sealed.prepared.split.hash[:12]}, but "
                f"{wanted.title} was made with {recorded[:12]}, so it may have learned from these test cells; promote "
                "where its own fields are"
            )

        def verdict(champion: int | None) -> Verdict:
            arms = {MODEL: fetched(self.registry, wanted.name, wanted.number)}
            rival, unread = self._champion(wanted.name, champion)
            against = f" by version {champion}" if rival else ""
            table = self._scores(f"judge {wanted.title}{against}", arms | rival)
            return self._verdict(wanted.name, champion, table, unread)

        return verdict

    def _champion(self, name: str, number: int | None) -> tuple[dict[str, Restorer], tuple[Check, ...]]:
        """The champion as an arm, if there is one; if this release cannot read it, a check that nothing passes."""
        if number is None:
            return {}, ()
        try:
            return {CHAMPION_ARM: fetched(self.registry, name, number)}, ()
        except BadInput as error:
            found = f"that {error}; or take its alias away on MLflow's page"
            return {}, (
                Check(rule=f"compared with the champion, version {number}", found=found, passed=False),
            )

    def _scores(self, name: str, arms: Mapping[str, Restorer]) -> pd.DataFrame:
        """Each on its own, since their tasks may have different targets; baselines beside the model alone."""
        with open_test_cells(self.sealed, arms, name, self.tracker):
            tables = []
            for arm, restorer in arms.items():
                table = self.sealed.scores({arm: restorer})
                tables.append(table if arm == MODEL else table[table["arm"] == arm])
            return pd.concat(tables, ignore_index=True)

    def _verdict(
        self, name: str, champion: int | None, table: pd.DataFrame, unread: tuple[Check, ...]
    ) -> Verdict:
        verdict = judge(table, self.gate, self.sealed.evaluation.bootstrap)
        if unread:
            return verdict.model_copy(update={"checks": (*verdict.checks, *unread)})
        split = self.sealed.prepared.split.hash
        if champion is None or self.registry.version(name, champion).tags.get(SPLIT) == split:
            return verdict
        return verdict.model_copy(update={"notes": (*verdict.notes, SEEN)})


def in_short(verdict: Verdict) -> str:
    """What the gate found, for people: of what was passed the number is enough."""
    if not verdict.passed:
        return verdict.sentence
    number = len(verdict.checks)
    return "; ".join([f"{number} of {number} checks passed", *(f"note: {note}" for note in verdict.notes)])


def fetched(registry: Registry, name: str, version: int) -> Restorer:
    """A registered version, read back.

    Raises:
        BadInput: if it is not there or cannot be read; then nothing can be compared with it.
    """
    model = f"models:/{name}/{version}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = registry.fetch(model, Path(temporary))
        try:
            return Restorer.load(folder)
        except BadInput as error:
            raise BadInput(str(error).replace(str(folder), model)) from None
