"""The command `sim-models submit`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.shared.stage import INTERRUPTED


def submit(
    stages: Annotated[
        list[str], typer.Argument(metavar="STAGE...", help="Stages of dvc.yaml, as train@er_nafnet.")
    ],
    study: Annotated[Path, typer.Option(help="Folder of the study, with its dvc.yaml.")] = Path(),
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="Ray's dashboard, as http://head:8265."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Workers that share every batch (SIM_MODELS_WORKERS): 8, or 2-8 for as many as there are."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="SIM_MODELS_STORAGE", help="Folder that all nodes see; needed where there are several."
        ),
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option(help="File or folder to upload though git does not know it.")
    ] = None,
    runtime_env: Annotated[
        Path | None, typer.Option(help="YAML file with more of Ray's runtime_env, as env_vars.")
    ] = None,
    credentials: Annotated[
        bool,
        typer.Option(help="Give the job the AWS_* and MLFLOW_* secrets of here; not where nodes have them."),
    ] = True,
    limit_mb: Annotated[float, typer.Option(help="Largest upload.")] = 100.0,
    push: Annotated[
        bool, typer.Option("--push", help="Push data that the stage needs and the remote lacks.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job and bring its results home.")
    ] = True,
    attach: Annotated[
        str | None, typer.Option(help="Submit nothing: follow this job of these stages, bring it home.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Run stages on a Ray cluster: upload, look at every node, submit, follow, and bring the results home."""
    try:
        from pipelines.cluster.submitting import Options
        from pipelines.cluster.submitting import submit as send

        send(
            Options(
                tuple(stages),
                study,
                address,
                workers,
                storage,
                tuple(extra or ()),
                runtime_env,
                credentials,
                limit_mb,
                push,
                wait,
                attach,
                dry_run,
            )
        )
    except KeyboardInterrupt:
        # typer would say no more than that it was aborted; what goes on was told
        sys.exit(INTERRUPTED)
