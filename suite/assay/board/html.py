"""Tools of every page: one way to read templates, and contents that are safe inside a page."""

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import jinja2
from markupsafe import Markup

_SHARED = Path(__file__).parent / "templates"


def environment(templates: Path) -> jinja2.Environment:
    """The templates of a folder, and those that all pages share: all is escaped, and an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, _SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = breakable
    return made


def policy(scripts: Iterable[str], blobs: bool = False) -> str:
    """The Content-Security-Policy of a page that is one file: it loads nothing, and runs only these scripts.

    Args:
        scripts: the texts of the inline scripts that are ours, each between its tags.
        blobs: whether they import a module that they carry themselves.
    """
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    allowed = [*(f"'sha256-{digest}'" for digest in sorted(hashes)), *(["blob:"] if blobs else [])]
    script_src = " ".join(["script-src", *allowed])
    return "; ".join((
        "default-src 'none'", script_src, "style-src 'unsafe-inline'",
        "img-src data: blob:", "connect-src 'none'", "form-action 'none'", "base-uri 'none'",
    ))  # fmt: skip


def scripts_of(html: str, count: int) -> list[str]:
    """The texts of the scripts in what a library has written.

    Raises:
        ValueError: there are more or fewer than ``count``: then something in it is not the library's.
    """
    found = re.findall(r"<script[^>]*>(.*?)</script\s*>", html, re.DOTALL | re.IGNORECASE)
    if len(found) != count or len(re.findall(r"<script", html, re.IGNORECASE)) != count:
        raise ValueError(f"expected {count} scripts, found {len(found)}")
    return found


def breakable(name: str) -> Markup:
    """A long name without spaces; its lines may break after ``:``, ``_``, ``@`` and ``+``."""
    return Markup("<wbr>").join(re.split(r"(?<=[:_@+])", name))


def png_address(png: bytes) -> str:
    """A picture as an address that contains it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def inside_a_script(json_text: str) -> str:
    """JSON that cannot end or open a <script>, or break its line.

    In JSON these characters stand only inside strings, where they can be escaped.
    """
    return json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
