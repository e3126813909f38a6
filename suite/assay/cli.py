"""The command line. Nothing heavy is imported before a verb needs it, so that ``assay --help`` answers at once."""

import io
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from assay import __version__
from assay.commands.groups import GROUPS, VerbsInGroups
from assay.common.errors import UserError

INTERRUPTED = 130  # a shell's code for what SIGINT ended

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


def _version(value: bool) -> None:
    if value:
        print(f"assay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options that stand before a verb."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what a user can mend is one line on standard error and exit code 2."""
    _print_anything()
    code = _guarded(lambda: app(args=arguments, standalone_mode=False))
    if code == INTERRUPTED:
        # Everything is stored and closed. An orderly exit would spend a second or more on torch, and would wait for
        # a thread that hangs on a picture.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _print_anything() -> None:
    """Let a string that no terminal can show be printed escaped: names in files of others may hold any code point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _guarded(command: Callable[[], Any]) -> int:
    """The exit code of ``command``, with errors turned into one line each."""
    try:
        code = command()
    except UserError as error:
        print(f"assay: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        return 141
    except Exception as error:
        if (known := _message_and_code(error)) is None:
            raise
        print(known[0], file=sys.stderr)
        return known[1]
    if code == INTERRUPTED:  # the option parser reports Ctrl-C so, too
        print("assay: stopped", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _message_and_code(error: Exception) -> tuple[str, int] | None:
    """What to print and the exit code for a stopped run or a wrong option; None for a defect of ours."""
    if type(error).__name__ == "InterruptedRunError":
        return f"assay: {error}", INTERRUPTED
    usage = getattr(error, "format_message", None)  # the option parser's exceptions have it
    if usage is None:
        return None
    message = usage()
    # `assay` alone raises its help text; anything else is one line.
    return message if "\n" in message else f"assay: {message} (see `assay --help`)", 2


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # `python -m` puts the working directory there, where a stranger's files may lie
    main()
