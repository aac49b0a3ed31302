"""Who was champion when: one tag of the registered model for every change, never written twice."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from sim_models.config import BadInput, Settings, parse
from sim_models.tracking.runs import client_of

HISTORY = "sim.history."
"""begins the keys; after it the time, so that they sort, and something by chance, so that none is written twice"""
LONGEST = 1500
"""characters of a text in a record: some databases take no more than 5000 of all together"""

SHOWN = 160
"""characters of a verdict in a line for people"""


class Change(Settings):
    """One thing that was done about the champion of a registered model, or tried."""

    moment: str
    """UTC, ISO 8601"""
    by: str
    what: Literal["promoted", "rolled back", "refused", "found"]
    """`found`: the alias was given without a record, before this history began or by hand"""
    before: int | None
    """version that was champion until then"""
    version: int | None
    """version that became champion, or was refused"""
    reason: str
    verdict: str
    """of the gate; empty where it was not asked"""

    @property
    def champion(self) -> int | None:
        """The version that was champion from then on."""
        return self.before if self.what == "refused" else self.version

    @property
    def line(self) -> str:
        """For people: what was passed is left to machines, what was refused is cut short."""
        said = f": {self.reason}" if self.reason else ""
        judged = f" ({_short(self.verdict, SHOWN)})" if self.what == "refused" else ""
        return f"{self.moment[:19]}Z  {self._act}, by {self.by}{said}{judged}"

    @property
    def _act(self) -> str:
        stays = f"{self.before} stays" if self.before else "there is no champion"
        after = f" in place of {self.before}" if self.before else ", the first"
        return {
            "promoted": f"version {self.version} promoted{after}",
            "rolled back": f"version {self.before} rolled back to {self.version}",
            "refused": f"version {self.version} refused, {stays}",
            "found": f"{f'version {self.version}' if self.version else 'no champion'} found",
        }[self.what]


def read(uri: str, name: str) -> list[Change]:
    """Every change of a registered model, in order.

    Raises:
        BadInput: if a record was changed by hand and cannot be read.
    """
    tags = client_of(uri).get_registered_model(name).tags
    keys = sorted(key for key in tags if key.startswith(HISTORY))
    return [_parsed(tags[key], f"{name}: tag {key}") for key in keys]


def append(uri: str, name: str, change: Change) -> Change:
    """Write one more record, later than every other, whatever the clock of this machine says. Needs the lock."""
    moment = datetime.fromisoformat(change.moment)
    if past := read(uri, name):
        moment = max(moment, datetime.fromisoformat(past[-1].moment) + timedelta(microseconds=1))
    short = {field: _short(getattr(change, field)) for field in ("by", "reason", "verdict")}
    written = change.model_copy(update={"moment": moment.isoformat(timespec="microseconds"), **short})
    key = f"{HISTORY}{moment:%Y%m%dT%H%M%S.%fZ}.{uuid.uuid4().hex[:8]}"
    client_of(uri).set_registered_model_tag(name, key, written.model_dump_json())
    return written


def now() -> str:
    """This moment, as records have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def champion_at(history: Sequence[Change], moment: datetime) -> int | None:
    """The version that was champion at a moment (UTC where it names no zone), by the history alone."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    past = [change for change in history if datetime.fromisoformat(change.moment) <= moment]
    return past[-1].champion if past else None


def before_present(history: Sequence[Change], unwanted: set[int]) -> int | None:
    """The version that was champion before the present one and was not taken back, if any.

    Going back twice goes further back, not to and fro.
    """
    held: list[int] = []
    for change in history:
        if change.what == "rolled back" and held:
            held.pop()
        if change.champion is not None and held[-1:] != [change.champion]:
            held.append(change.champion)
    return next((version for version in reversed(held[:-1]) if version not in {*unwanted, held[-1]}), None)


def _parsed(text: str, where: str) -> Change:
    try:
        values = json.loads(text)
    except ValueError:
        raise BadInput(f"{where}: is no record of this program; it was changed by hand, restore it") from None
    return parse(Change, values, where)


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."
