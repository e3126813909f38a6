"""The one exception that speaks to users."""

from assay.common.shown import on_one_line

LISTED = "\n  - "
"""Before each thing of a list in a message."""


class UserError(ValueError):
    """Something the user can mend; its text says what, where and how, in one sentence.

    The command line prints it as one line without a traceback and exits with code 2.
    """

    def __str__(self) -> str:
        """The sentence on one line, and each thing of a list on its own.

        What it quotes of a stranger's file cannot steer a terminal, and begins a line only in a list.
        """
        parts = super().__str__().split(LISTED)
        return LISTED.join(on_one_line(part.replace("\n", " ")) for part in parts)
