"""Execute the notebooks of the documentation anew, each in a kernel of its own, and keep their outputs.

    python scripts/execute_notebooks.py docs/notebooks/*.ipynb

Times and warnings are left out, so that equal answers are equal files.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

LONGEST_CELL_S = 1800


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with the outputs of this machine; cells run in a folder that is empty and goes afterwards."""
    with TemporaryDirectory(prefix="assay-notebook-") as folder:
        client = NotebookClient(
            notebook,
            timeout=LONGEST_CELL_S,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,  # what is printed in one cell is one output, however it arrives
            resources={"metadata": {"path": folder}},
        )
        return client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore"})


def main() -> None:
    """Execute each notebook and write it over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", type=Path, nargs="+")
    for path in parser.parse_args().notebooks:
        notebook = executed(nbformat.read(path, as_version=4))
        notebook.metadata = {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
        path.write_text(nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
