"""The one exception that speaks to users."""

from assay.common.shown import on_one_line


class UserError(ValueError):
    """Something the user can mend; its text says what, where and how, in one sentence.

    The command line prints it as one line without a traceback and exits with code 2.
    """

    def __str__(self) -> str:
        """The sentence on one line; what it quotes of a stranger's file cannot steer a terminal."""
        return on_one_line(super().__str__().replace("\n", " "))
