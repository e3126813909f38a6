"""The command line. Nothing heavy is imported before a verb needs it, so that ``assay --help`` answers at once."""

import sys
from functools import cache
from typing import Annotated, Any

import typer
from typer.main import get_command

from assay.commands.ending import run_to_exit
from assay.commands.groups import GROUPS, VerbsInGroups, print_version

app = typer.Typer(
    name="assay",
    help="How far can an image classifier's answer, and what it looks at, be trusted when the input changes?",
    epilog="Example: assay run --model efficientnet_lite0 --task adversarial/imagenet20 --out out/first",
    cls=VerbsInGroups,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for modules in GROUPS.values():
    for module in modules:
        app.add_typer(module.app)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Hold the options that stand before a verb."""


@cache
def _command() -> Any:
    """The parser of all verbs, made once in a process: to make it takes longer than many verbs do."""
    return get_command(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what a user can mend is one line on standard error and exit code 2."""
    run_to_exit(lambda: _command()(args=arguments, standalone_mode=False))


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # `python -m` puts the working directory there, where a stranger's files may lie
    main()
