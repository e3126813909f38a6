"""Draw the overview of each track of a built board: python scripts/board_pictures.py SITE OUT [--browser CHROMIUM].

SITE is what `assay leaderboard` wrote. A PNG per track, with every model; the study's matrix is drawn by `assay study`.
"""

import argparse
import json
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH = 1280  # pixels; what a page shows at least


def draw(site: Path, out: Path, browser: str | None) -> list[Path]:
    """The pictures of all tracks that have a model."""
    tracks = json.loads((site / "leaderboard.json").read_text(encoding="utf-8"))["tracks"]
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chromium,
    ):
        page = chromium.new_page(viewport={"width": WIDTH, "height": 900})
        for track in tracks:
            page.goto("about:blank")  # another link of the page that is open would not be read
            page.goto(f"{(site / 'index.html').resolve().as_uri()}#track={track['id']}&size=250")
            page.wait_for_selector("#board tbody tr")
            place = out / f"board-{track['id']}.png"
            page.locator("#board").screenshot(path=place)
            drawn.append(place)
    return drawn


def main() -> None:
    """Draw them, and say where they lie."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("site", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--browser", help="the browser's file, where playwright has none of its own")
    given = parser.parse_args()
    for place in draw(given.site, given.out, given.browser):
        print(place)


if __name__ == "__main__":
    main()
