"""From a command to the process's end: what a user can mend is one line on standard error, with its exit code."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, TextIO, cast

import typer

from assay.common.errors import UserError
from assay.common.shown import PlainStream

INTERRUPTED = 130  # a shell's code for what SIGINT ended


def run_to_exit(command: Callable[[], Any]) -> None:
    """Run ``command`` and leave the process with its exit code.

    Raises:
        SystemExit: always, unless the process was interrupted and has ended.
    """
    _print_anything()
    # The progress bars on standard error do steer a terminal; what is printed there of strangers is escaped on its way.
    with redirect_stdout(cast(TextIO, PlainStream(sys.stdout))):
        code = _guarded(command)
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
    message = usage().replace("Value error, ", "")  # the parser's word for what a word of a list is no
    # `assay` alone raises its help text; anything else is one line.
    return message if "\n" in message else f"assay: {message.rstrip('.')} (see `{_verb_of(error)} --help`)", 2


def _verb_of(error: Exception) -> str:
    """The verb, as it is typed, whose options the parser refused."""
    context = getattr(error, "ctx", None)
    return f"assay {context.info_name}" if context is not None and context.parent is not None else "assay"
