"""Set the last `make perf` beside a release's file: `compare_speed.py RELEASE NEW`; `--keep NEW... FILE` makes one.

Each figure is new / release. Times of two machines do not compare, so the ratios that the tests measure themselves (by
alternating runs) come first; a time's own ratio means something only where both files are of one machine.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

_KEPT = ("name", "fullname", "params", "extra_info")
_STATS = ("median", "iqr", "rounds")


def kept(document: Mapping[str, Any]) -> dict[str, Any]:
    """A file of pytest-benchmark without what names a machine or a person: its processor's name stays."""
    benchmarks = [
        {key: each[key] for key in _KEPT} | {"stats": {key: each["stats"][key] for key in _STATS}}
        for each in document["benchmarks"]
    ]
    processor = document["machine_info"].get("cpu", {}).get("brand_raw", "unknown")
    return {
        "processor": processor,
        "commit": document.get("commit_info", {}).get("id"),
        "datetime": document["datetime"],
        "benchmarks": benchmarks,
    }


def ratios(benchmark: Mapping[str, Any]) -> dict[str, float]:
    """The figures that a test measured, by name: its own ratios, then its median time in seconds."""
    numbers = {
        name: float(value)
        for name, value in benchmark["extra_info"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return numbers | {"median seconds": float(benchmark["stats"]["median"])}


def rows(release: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[list[str]]:
    """One row for each figure of each test; what only one of the files has is said."""
    before, after = ({each["fullname"]: each for each in file["benchmarks"]} for file in (release, new))
    for test in [*before, *(name for name in after if name not in before)]:
        name = test.rpartition("::")[2]
        if test not in before or test not in after:
            yield [name, "", "", "", "only new" if test in after else "not run now"]
            continue
        old, now = ratios(before[test]), ratios(after[test])
        for figure in (figure for figure in old if figure in now):
            change = f"{now[figure] / old[figure]:.2f}" if old[figure] else "–"
            yield [name, figure, f"{old[figure]:.4g}", f"{now[figure]:.4g}", change]


def main(words: list[str]) -> int:
    """Print the table, or write a slim file for the repository."""
    if len(words) >= 3 and words[0] == "--keep":
        parts = [kept(json.loads(Path(word).read_text(encoding="utf-8"))) for word in words[1:-1]]
        slim = parts[-1] | {"benchmarks": [each for part in parts for each in part["benchmarks"]]}
        release = Path(words[-1])
        release.parent.mkdir(parents=True, exist_ok=True)
        release.write_text(json.dumps(slim, indent=1) + "\n", encoding="utf-8")
        return 0
    if len(words) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    release, new = (json.loads(Path(word).read_text(encoding="utf-8")) for word in words)
    print(
        tabulate(
            rows(release, new),
            headers=["test", "figure", "release", "now", "now / release"],
            disable_numparse=True,
        )
    )
    print(
        f"\nrelease: {Path(words[0]).stem}, on {release['processor']}, commit {release.get('commit') or 'unknown'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
