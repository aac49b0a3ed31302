"""Results come home: what ran on the cluster is taken from DVC's run cache, and nothing is ever run here."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import _reproduce_stage
from dvc.stage import PipelineStage, Stage

from pipelines.cluster.run_cache import fetch_made
from pipelines.shared.dvc_command import with_lock
from sim_models.config import WorkFailed


@dataclass
class Brought:
    """What came of the stages and of those before them."""

    restored: list[str] = field(default_factory=list)
    """taken from the run cache, or pulled"""
    not_kept: list[str] = field(default_factory=list)
    """whose results DVC does not keep, as of those that write to a registry; what depends on them waits too"""
    differ: list[str] = field(default_factory=list)
    """of which the remote has no results for the code, settings and data that are here now"""

    def lines(self, stages: Sequence[str]) -> list[str]:
        """For people."""
        said = [f"home: {', '.join(self.restored) or 'nothing new'}; dvc.lock is up to date with it"]
        if self.not_kept:
            said.append(
                f"DVC keeps no results of {', '.join(self.not_kept)}: `dvc repro {' '.join(stages)}` makes "
                "them here, which trains nothing"
            )
        return said


class _NotHereError(Exception):
    """A stage would have to run."""


def bring_home(folder: Path, stages: Sequence[str]) -> Brought:
    """Take results of stages from DVC's remote, so that `dvc repro` finds them done.

    Raises:
        WorkFailed: if the remote has no results for what is here now.
    """
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they would say is said here
    with contextlib.chdir(folder), _nothing_runs():
        try:
            brought = with_lock(lambda: _bring(stages), Path())
        except DvcException as error:
            raise WorkFailed(
                f"results could not be brought home: {error}; `dvc repro --pull` tries again"
            ) from None
    if brought.differ:
        raise WorkFailed(
            f"no results came home for {', '.join(brought.differ)}: code, settings or data here are no longer "
            "those that were submitted; go back to these, then run the same command with --attach and the job"
        )
    return brought


def _bring(stages: Sequence[str]) -> Brought:
    brought = Brought()

    def only_from_cache(stage: Stage, upstream: Sequence[Stage] = (), **options: Any) -> Stage | None:
        names = {each.addressing for each in upstream}
        if names & set(brought.not_kept) or _is_not_kept(stage, upstream):
            brought.not_kept.append(stage.addressing)
            raise _NotHereError
        if names & set(brought.differ) or not _can_be_had(stage, upstream):
            brought.differ.append(stage.addressing)
            raise _NotHereError
        try:
            done: Stage | None = _reproduce_stage(stage, upstream=upstream, **options)
        except DvcException:
            brought.differ.append(stage.addressing)
            raise
        if done is not None:
            brought.restored.append(stage.addressing)
        return done

    with Repo() as repo:
        repo.reproduce(list(stages), pull=True, on_error="ignore", repro_fn=only_from_cache)
    return brought


def _is_not_kept(stage: Stage, upstream: Sequence[Stage]) -> bool:
    return any(out.persist for out in stage.outs) and bool(stage.changed(False, list(upstream)))


def _can_be_had(stage: Stage, upstream: Sequence[Stage]) -> bool:
    """Whether a stage is done, or what it made can be fetched; it is asked before DVC takes old outputs away."""
    if not isinstance(stage, PipelineStage) or not stage.cmd or not stage.changed(False, list(upstream)):
        return True
    has_run = all(out.hash_info for out in stage.outs)
    return bool(has_run and not stage.changed(True, list(upstream))) or fetch_made(stage)


@contextlib.contextmanager
def _nothing_runs() -> Iterator[None]:
    """DVC runs commands by the shell that the environment names; this one does nothing, and fails."""
    was = os.environ.get("SHELL")
    os.environ["SHELL"] = shutil.which("false") or "/bin/false"
    try:
        yield
    finally:
        if was is None:
            del os.environ["SHELL"]
        else:
            os.environ["SHELL"] = was
