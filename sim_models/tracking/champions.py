"""The alias `champion`: who gets it, who gives it back, who held it when. Nothing else gives it.

The champion is read, a judge compares with it, and the alias is given, all under one lock: so of several that want
it at once each is judged against the one before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from sim_models.config import BadInput, Refused
from sim_models.tracking import history
from sim_models.tracking.history import Change
from sim_models.tracking.lock import lock
from sim_models.tracking.registry import CHAMPION, Registry
from sim_models.tracking.runs import client_of

ROLLED_BACK = "sim.rolled_back"
"""tag of a version that was taken back: when, by whom and why"""


class Judgement(Protocol):
    """What a judge has found."""

    @property
    def passed(self) -> bool:
        """Whether the version may be champion."""

    @property
    def sentence(self) -> str:
        """Why, for people."""


J = TypeVar("J", bound=Judgement)


@dataclass(frozen=True)
class Decision(Generic[J]):
    """What came of a version that was to be champion."""

    champion: bool
    before: int | None
    """the champion it was judged against; itself where it was champion already"""
    judgement: J | None
    """None where it was taken back before, and so not judged"""
    sentence: str


@dataclass(frozen=True)
class Champions:
    """The champions of one registered model."""

    registry: Registry
    name: str

    def history(self) -> list[Change]:
        """Every change, in order.

        Raises:
            BadInput: if there is no such model, or a record cannot be read.
        """
        self.registry.versions(self.name)
        return history.read(self.registry.uri, self.name)

    def at(self, moment: datetime) -> int | None:
        """The version that was champion at a moment, by the history alone."""
        return history.champion_at(self.history(), moment)

    def unrecorded(self) -> str | None:
        """How the alias differs from what the history says, if it does."""
        past, holder = self.history(), self.registry.holder(self.name, CHAMPION)
        recorded = past[-1].champion if past else None
        if holder == recorded:
            return None
        held = "no version holds" if holder is None else f"version {holder} holds"
        if not past:
            return f"{held} the alias since before this history began"
        said = "none" if recorded is None else f"version {recorded}"
        return f"{held} the alias, but the history says {said}: it was changed by hand, as on MLflow's page"

    def promote(
        self, version: int, judge: Callable[[int | None], J], by: str, reason: str, again: bool = False
    ) -> Decision[J]:
        """Make a version champion if the judge lets it; either way it is recorded.

        Args:
            version: what is to be champion.
            judge: given the champion it would replace, if any; called under the lock.
            by: who wants it.
            reason: why.
            again: also where the version was once taken back.

        Raises:
            BadInput: if there is no such version, or another changes the champion for too long.
        """
        self.registry.version(self.name, version)
        with lock(self.registry.uri, self.name) as still_mine:
            before = self._reconciled(by)
            taken_back = self.registry.version(self.name, version).tags.get(ROLLED_BACK)
            if taken_back and not again and before != version:
                sentence = f"refused: version {version} was rolled back {taken_back}"
                still_mine()
                self._record(Change(**self._facts("refused", by, before, version, reason), verdict=sentence))
                return Decision(False, before, None, sentence)
            judgement = judge(None if before == version else before)
            still_mine()
            if before != version:
                self._settle(judgement, by, before, version, reason)
            return Decision(judgement.passed or before == version, before, judgement, judgement.sentence)

    def rollback(self, by: str, reason: str) -> Change:
        """Give the alias back to the champion before the present one, and mark the present one.

        Raises:
            BadInput: if there is no such model, or no champion.
            Refused: if there was no champion before it.
        """
        self.registry.versions(self.name)
        with lock(self.registry.uri, self.name) as still_mine:
            present = self._reconciled(by)
            if present is None:
                raise BadInput(f"{self.name} has no champion, so there is nothing to go back from")
            target = history.before_present(self.history(), self._unwanted())
            if target is None:
                raise Refused(
                    f"{self.name}: version {present} has no champion before it in the history that was not "
                    "rolled back itself; promote another version instead"
                )
            still_mine()
            change = Change(**self._facts("rolled back", by, present, target, reason), verdict="")
            # Marked first: where this is cut short, a bad version must not come back unseen.
            self.registry.tag(
                self.name, present, {ROLLED_BACK: f"on {change.moment[:10]} by {by}: {reason or 'no reason'}"}
            )
            self._give(target)
            return self._record(change)

    def _settle(self, judgement: Judgement, by: str, before: int | None, version: int, reason: str) -> None:
        what = "promoted" if judgement.passed else "refused"
        if judgement.passed:
            self._give(version)
            self.registry.untag(self.name, version, ROLLED_BACK)
        self._record(Change(**self._facts(what, by, before, version, reason), verdict=judgement.sentence))

    def _give(self, version: int) -> None:
        client_of(self.registry.uri).set_registered_model_alias(self.name, CHAMPION, str(version))

    def _record(self, change: Change) -> Change:
        return history.append(self.registry.uri, self.name, change)

    def _reconciled(self, by: str) -> int | None:
        """The champion; where the history does not know of it, it is written down first."""
        holder, doubt = self.registry.holder(self.name, CHAMPION), self.unrecorded()
        if doubt is not None:
            past = self.history()
            before = past[-1].champion if past else None
            self._record(Change(**self._facts("found", by, before, holder, doubt), verdict=""))
        return holder

    def _facts(
        self, what: str, by: str, before: int | None, version: int | None, reason: str
    ) -> dict[str, Any]:
        return {
            "moment": history.now(),
            "what": what,
            "by": by,
            "before": before,
            "version": version,
            "reason": reason,
        }

    def _unwanted(self) -> set[int]:
        """Versions between the first and the last that were taken back or deleted."""
        kept = {each.number for each in self.registry.versions(self.name) if ROLLED_BACK not in each.tags}
        seen = {change.champion for change in self.history()}
        return {version for version in seen if version is not None and version not in kept}
