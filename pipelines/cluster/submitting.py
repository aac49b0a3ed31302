"""`sim-models submit`: what is uploaded, a look at every node, the job, its log, and its results home."""

import contextlib
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cluster.checks import MARK, STORAGE, Check, from_json
from pipelines.cluster.environment import for_workers, left_here, names_of, runtime_env, secrets_of
from pipelines.cluster.upload import CODE, Upload, list_upload, repository_root
from pipelines.shared.dvc_command import dvc, dvc_root
from sim_models.config import BadInput, NotReady, WorkFailed

if TYPE_CHECKING:
    from pipelines.cluster.ray_door import Jobs

PREFLIGHT_S = 300.0
"""as long as the look at the nodes may take, upload included"""
ADVICE = "mend this, then submit again; nothing was submitted"
RAYS_LIMIT_MB = 100
"""what Ray's dashboard takes"""


@dataclass(frozen=True)
class Options:
    """What a person asked for."""

    stages: tuple[str, ...]
    study: Path
    address: str | None
    workers: str | None
    storage: str | None
    extras: tuple[str, ...]
    env_file: Path | None
    credentials: bool
    limit_mb: float
    push: bool
    wait: bool
    attach: str | None
    dry_run: bool


def submit(options: Options) -> None:
    """Submit stages to a Ray cluster.

    Raises:
        BadInput: if something that was given cannot be used.
        Refused: if something secret, large, or private would travel.
        NotReady: if the cluster, the server, the storage or the data are not ready; nothing was submitted.
        WorkFailed: if the job was submitted and failed.
    """
    root, study = _places(options)
    made = _outputs(options)
    if options.attach is not None:
        _attach(options, options.attach)
        return
    upload = list_upload(root, options.extras)
    env = runtime_env(options.env_file, _variables(options, upload))
    _refuse_upload(options, upload, env["env_vars"])
    if options.dry_run:
        _dry(options, study)
        return
    jobs = _jobs(options)
    _refuse_unpushed(options, made)
    with tempfile.TemporaryDirectory(prefix="sim_models_") as folder:
        upload.copy(Path(folder))
        ready = [
            "python",
            "-m",
            "pipelines.cluster.preflight",
            _torch(root),
            study,
            *options.stages,
        ]
        _preflight(jobs, Path(folder), ready, env)
        about = {"stages": " ".join(options.stages), "study": study, "commit": upload.version.commit}
        job = jobs.submit(_entrypoint(study, options.stages), Path(folder), env, about)
    print(f"job {job}: {' '.join(options.stages)} on {jobs.address}", flush=True)
    if not options.wait:
        print(_later(options, job))
        return
    _follow(options, jobs, job)


def _places(options: Options) -> tuple[Path, str]:
    """Top of the repository, and the study from there."""
    if not options.stages:
        raise BadInput("name a stage, as train@microtubules; `dvc stage list` tells which there are")
    if wrong := [
        stage for stage in options.stages if not re.fullmatch(r"[\w.@:/-]+", stage) or stage.startswith("-")
    ]:
        raise BadInput(f"{wrong[0]!r} is no name of a stage; `dvc stage list` tells which there are")
    if not (options.study / "dvc.yaml").exists():
        raise BadInput(
            f"{options.study}: has no dvc.yaml; give the folder of a study by --study, or run this in one"
        )
    root = repository_root(options.study).resolve()
    if dvc_root(options.study) != root:
        raise BadInput(f"{options.study}: the DVC project must be that of the git repository, {root}")
    return root, options.study.resolve().relative_to(root).as_posix()


def _variables(options: Options, upload: Upload) -> dict[str, str]:
    own = {} if options.workers is None else {"SIM_MODELS_WORKERS": options.workers}
    if options.workers is not None and not re.fullmatch(r"[1-9]\d*(-[1-9]\d*)?", options.workers):
        raise BadInput(f"--workers {options.workers}: give a whole number of at least 1, or a range as 2-8")
    if options.storage:
        if not options.storage.startswith("/"):
            raise BadInput(
                f"--storage {options.storage}: give a folder that all nodes see, from the root, as /shared/sim-models"
            )
        own[STORAGE] = options.storage
    version = upload.version
    own |= {"SIM_MODELS_COMMIT": version.commit, "SIM_MODELS_CODE_CHANGED": str(version.dirty).lower()}
    return for_workers(own, credentials=options.credentials)


def _refuse_upload(options: Options, upload: Upload, variables: dict[str, str]) -> None:
    """Tell what would be uploaded, and refuse what must not be."""
    root = upload.root
    print("\n".join(upload.lines(options.limit_mb)), flush=True)
    here = left_here()
    print(
        f"to workers (names only): {names_of(variables)}"
        + (f"; stays here: {', '.join(here)}" if here else "")
    )
    if (root / ".dvc" / "config.local").exists():
        print(
            "warning: .dvc/config.local stays here; what it says of the remote must come from .dvc/config and AWS_*"
        )
    upload.refuse_secrets(secrets_of({**os.environ, **variables}))
    upload.refuse_large(options.limit_mb)
    if not any(name.startswith(f"{room}/") for room in CODE for name in upload.files):
        raise BadInput(f"{root}: git knows no {' or '.join(CODE)} here, which the cluster would run")


def _dry(options: Options, study: str) -> None:
    where = options.address or "the address of --address"
    print(f"would look at every node of {where}: code, torch and CUDA, tracking server, storage, data")
    print(f"would submit: {_entrypoint(study, options.stages)}")
    print(f"would {'follow its log, and bring the results home' if options.wait else 'leave it there'}")
    print("nothing was uploaded or submitted (--dry-run)")


def _jobs(options: Options) -> "Jobs":
    from pipelines.cluster.ray_door import Jobs

    if not options.address:
        raise BadInput("give the cluster's address: --address http://head:8265, or RAY_API_SERVER_ADDRESS")
    return Jobs(options.address)


def _refuse_unpushed(options: Options, own: set[str]) -> None:
    """What lies here and not in the remote would be computed again, or be missing."""
    ended = dvc(["status", "--cloud", "--with-deps", "--json", *options.stages], options.study, show=False)
    if ended.code:
        raise NotReady(
            f"DVC's remote does not answer from here: {ended.reason}; declare one in .dvc/config; {ADVICE}"
        )
    states: dict[str, str] = json.loads(ended.out or "{}")
    here = sorted(name for name, state in states.items() if state == "new" and name not in own)
    if not here:
        return
    if not options.push:
        raise NotReady(
            f"DVC's remote lacks {', '.join(here[:5])}{' and more' if len(here) > 5 else ''}, though it is here; "
            "run dvc push, or submit with --push; nothing was submitted"
        )
    print(f"pushing {len(here)} outputs that the stage needs", flush=True)
    pushed = dvc(["push", "--with-deps", *options.stages], options.study)
    if pushed.code:
        raise NotReady(f"dvc push failed: {pushed.reason}; {ADVICE}")


def _outputs(options: Options) -> set[str]:
    """What the stages themselves make, as `dvc status` names it.

    Raises:
        BadInput: if there is no such stage.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with contextlib.chdir(options.study), Repo() as repo:
            return {
                str(out)
                for name in options.stages
                for stage in repo.stage.collect(name)
                for out in stage.outs
            }
    except DvcException as error:
        raise BadInput(
            f"{options.study / 'dvc.yaml'}: {error}; `dvc stage list` tells which stages there are"
        ) from None


def _torch(root: Path) -> str:
    """The torch that `requirements.lock` asks for."""
    lock = root / "requirements.lock"
    found = re.search(r"^torch==([^\s;+]+)", lock.read_text(), re.MULTILINE) if lock.exists() else None
    if found is None:
        raise BadInput(f"{lock}: says no version of torch, which the nodes must have")
    return found[1]


def _preflight(jobs: "Jobs", folder: Path, command: Sequence[str], env: dict[str, Any]) -> None:
    """Look at every node, by a small job.

    Raises:
        NotReady: if something does not stand.
    """
    print("preflight, on every node ...", flush=True)
    job = jobs.submit(shlex.join(command), folder, env, {"preflight": "sim-models submit"})
    log: list[str] = []
    ended = jobs.follow(job, log.append, PREFLIGHT_S)
    lines = "".join(log).splitlines()
    told = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if not ended.succeeded or not told:
        last = next((line for line in reversed(lines) if line.strip()), ended.message)
        checks = [Check("job", False, last.removeprefix("error: "))]
    else:
        checks = from_json(told[-1])
    print("\n".join(check.line for check in checks), flush=True)
    if failed := [check for check in checks if not check.ok]:
        raise NotReady(f"{'; '.join(f'{check.name}: {check.sentence}' for check in failed)}; {ADVICE}")


def _entrypoint(study: str, stages: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "pipelines.cluster.job", "--study", study, *stages])


def _attach(options: Options, job: str) -> None:
    if options.dry_run:
        print(f"would follow job {job}, and bring the results of {' '.join(options.stages)} home (--dry-run)")
        return
    _follow(options, _jobs(options), job)


def _follow(options: Options, jobs: "Jobs", job: str) -> None:
    """Tell what the job writes; then bring its results home."""
    from pipelines.cluster.home import bring_home

    try:
        ended = jobs.follow(job, _tell)
    except KeyboardInterrupt:
        print(f"\njob {job} goes on; {_later(options, job)}", file=sys.stderr)
        raise
    if not ended.succeeded:
        how = "was stopped" if ended.stopped else "failed"
        raise WorkFailed(f"job {job} {how}; its log: ray job logs {job} --address {options.address}")
    print("\n".join(bring_home(options.study, options.stages).lines(options.stages)))


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _later(options: Options, job: str) -> str:
    study = "" if options.study == Path() else f" --study {options.study}"
    again = f"sim-models submit {' '.join(options.stages)}{study} --address {options.address} --attach {job}"
    stop = f"ray job stop {job} --address {options.address}"
    return f"to follow it and bring its results home: {again}\nto stop it: {stop}"
