"""The command line `sim-models`, for people with files of their own. Same code as the pipeline.

Each room has its commands in its `commands.py`; options that several have are in `pipelines/options.py`.
"""

import sys

import typer

from pipelines.cluster.commands import submit
from pipelines.datasets import commands as data
from pipelines.own_files.commands import compress, inspect, recipes, reconstruct, restore
from pipelines.own_study.commands import transfer
from pipelines.registry import commands as registry
from pipelines.shared.stage import exit_code

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Inspect, reconstruct and restore raw SIM stacks; carry models to others, compress them, keep their registry.",
)
for command in (restore, reconstruct, compress, transfer, submit, recipes, inspect):
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(registry.app, name="registry")


def main() -> None:
    """Entry point of the console script."""
    sys.exit(exit_code(app))


if __name__ == "__main__":
    main()
