"""The commands `sim-models registry`: who is champion, since when, and who comes next."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import AsJson

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The family of registered models; promote through the gate, roll back, look up.",
)
# MLflow and torch are imported inside the commands: `--help` should not wait for them.

Name = Annotated[str, typer.Argument(help="Name of the registered model, as sim-er.")]
By = Annotated[str | None, typer.Option(help="Who decides; the user of this machine if not given.")]


@app.command()
def tree(
    name: Annotated[str | None, typer.Argument(help="Of this registered model alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every version below the one it came from, with aliases, arm, frozen stages and PSNR."""
    from pipelines.registry.promoting import family, opened

    kin = family(opened(), name)
    if as_json:
        print(json.dumps([each.as_dict() for each in kin], indent=2))
    else:
        print("\n".join(line for each in kin for line in each.lines()) or "nothing is registered yet")


@app.command()
def history(
    name: Name,
    at: Annotated[
        str | None, typer.Option(help="Who was champion then: 2026-11-27 or 2026-11-27T14:30, in UTC.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every change of the champion, also those that were refused, or who was champion at a date."""
    from pipelines.registry.promoting import opened
    from sim_models.tracking.champions import Champions

    champions = Champions(opened(), name)
    if doubt := champions.unrecorded():
        print(f"warning: {name}: {doubt}", file=sys.stderr)
    if at is not None:
        moment = _moment(at)
        found = champions.at(moment)
        said = "no champion on record" if found is None else f"version {found}"
        record = {"name": name, "at": moment.isoformat(), "champion": found}
        print(json.dumps(record) if as_json else f"{name} at {moment:%Y-%m-%d %H:%M:%S} UTC: {said}")
        return
    changes = champions.history()
    if as_json:
        print(json.dumps([change.model_dump() for change in changes], indent=2))
    else:
        print("\n".join(change.line for change in changes) or f"{name}: nothing on record yet")


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="Its version.")],
    reason: Annotated[str, typer.Option(help="Why, for the history.")],
    by: By = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also where this version was once rolled back.")
    ] = False,
    study: Annotated[
        Path,
        typer.Option(
            help="Folder of the study that made it: where its params.yaml lies, or what sim-models transfer wrote."
        ),
    ] = Path(),
) -> None:
    """Make a version champion if the gate of its study lets it; exit code 3 if not."""
    from pipelines.registry.promoting import promote as promoted
    from sim_models.tracking.lock import user

    print(promoted(name, version, by or user(), _said(reason), again, study))


@app.command()
def rollback(
    name: Name, reason: Annotated[str, typer.Option(help="Why, for the history.")], by: By = None
) -> None:
    """Give the alias back to the champion before the present one, which then does not return unasked."""
    from pipelines.registry.promoting import opened
    from sim_models.tracking.champions import Champions
    from sim_models.tracking.lock import user

    change = Champions(opened(), name).rollback(by or user(), _said(reason))
    print(f"{name} version {change.version} is champion again; version {change.before} was rolled back")


@app.command()
def card(
    model: Annotated[str, typer.Argument(help="NAME@champion or NAME/VERSION.")],
) -> None:
    """Print the model card: what it is for, what it was made from, how good it is, where it fails."""
    from pipelines.registry.promoting import read_card

    print(read_card(model))


def _said(reason: str) -> str:
    from sim_models.config import BadInput

    if not reason.strip():
        raise BadInput("--reason is empty; say in a few words why, for whoever reads the history")
    return reason.strip()


def _moment(text: str) -> datetime:
    """A date as its end, so that what happened on it counts; a time as it is."""
    from sim_models.config import BadInput

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"--at {text}: is no date; write it as 2026-11-27 or 2026-11-27T14:30, in UTC"
        ) from None
    if len(text) == len("2026-11-27"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999999)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
