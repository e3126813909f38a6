"""The one exception that speaks to users."""


class UserError(ValueError):
    """Something the user can mend; its text says what, where and how, in one sentence.

    The command line prints it as one line without a traceback and exits with code 2.
    """
