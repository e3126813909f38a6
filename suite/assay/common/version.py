"""The version of Assay, as it is installed; ``assay.__version__`` is the same."""

from importlib.metadata import version

VERSION = version("assay")
