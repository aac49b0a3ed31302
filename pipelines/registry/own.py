"""What `sim-models transfer` keeps of a study that has ended, so that its models can be judged again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pipelines.registry.judging import DATA_VERSION, Court
from pipelines.shared.params import Evaluation
from pipelines.shared.stage import digest, project_root
from pipelines.shared.test_cells import Sealed
from sim_models.config import BadInput, Settings, parse
from sim_models.evaluation.gate import GateSettings
from sim_models.optics.reconstruct import ReconstructionSettings
from sim_models.sources.prepared import SPLIT, Prepared
from sim_models.tracking.registry import Registry, Version
from sim_models.tracking.runs import Tracker

EXPERIMENT = "transfer"
MADE_BY: Final = "sim-models transfer"
RECORD, FIELDS = "transfer.json", "fields"


class TransferRecord(Settings):
    """What a study that has ended was made of, and what judges its models; the last file that is written."""

    made_by: Literal["sim-models transfer"]
    key: str
    """digest of settings, stacks, sources and code"""
    target: str
    data: str
    """digest of the stacks"""
    split: str
    fields: str
    """folder of the prepared fields: within that of the study, or where a person keeps them"""
    fields_digest: str
    reconstruction: ReconstructionSettings
    evaluation: Evaluation
    gate: GateSettings
    licence: str | None
    """of the stacks; None where it is not stated"""
    sources: dict[str, str]
    """name -> SHA-256 of its weights"""
    left_out: dict[str, str]
    """cell -> why"""
    run_id: str
    """of the study, at MLflow"""
    registered: str | None
    """`NAME version N`, where it was asked for"""


@dataclass(frozen=True)
class OwnStudy:
    """A study of `sim-models transfer` that has ended."""

    folder: Path
    record: TransferRecord

    @staticmethod
    def open(folder: Path) -> "OwnStudy":
        """Read its record.

        Raises:
            BadInput: if it has none that can be read, as where an earlier release wrote it.
        """
        path = folder / RECORD
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError):
            raise BadInput(f"{path}: cannot be read; give a folder that {MADE_BY} wrote") from None
        return OwnStudy(folder, parse(TransferRecord, values, str(path)))

    def sealed(self) -> Sealed:
        """Its test cells, and how they were scored.

        Raises:
            BadInput: if its fields are gone, or are no longer those it was made with.
        """
        record, fields = self.record, self.folder / self.record.fields  # an absolute path stays as it is
        if not (fields / SPLIT).is_file():
            raise BadInput(f"{fields}: the fields of the study in {self.folder} are gone; bring them back")
        if digest(fields) != record.fields_digest:
            raise BadInput(
                f"{fields}: these are no longer the fields that the study in {self.folder} was made with, so nothing "
                "can be judged by them; bring those back, or run the study again into another folder"
            )
        return Sealed(Prepared.open(fields), record.data, record.evaluation, record.reconstruction)

    def court(self, registry: Registry) -> Court:
        """By what its models are judged."""
        tracker = Tracker.open(EXPERIMENT, project_root())
        return Court(registry, self.sealed(), self.record.gate, tracker)

    def court_for(self, wanted: Version, registry: Registry) -> Court:
        """By what a version is judged that was made from the stacks of this study.

        Raises:
            BadInput: if it was made from others.
        """
        if wanted.tags.get(DATA_VERSION) != self.record.data:
            raise BadInput(
                f"{self.folder}: {wanted.title} was not made from the stacks of this study; give the folder of the "
                "study that made it with --study"
            )
        return self.court(registry)
