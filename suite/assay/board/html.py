"""What every page is made with: one way to read templates, and contents that can stand inside a page."""

import base64
import re
from pathlib import Path

import jinja2
from markupsafe import Markup


def environment(templates: Path) -> jinja2.Environment:
    """The templates of a folder: everything is escaped, and a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = breakable
    return made


def breakable(name: str) -> Markup:
    """A long name whose lines may end after ``:``, ``_``, ``@`` and ``+``; it has no space of its own."""
    return Markup("<wbr>").join(re.split(r"(?<=[:_@+])", name))


def png_address(png: bytes) -> str:
    """A picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def inside_a_script(json_text: str) -> str:
    """JSON that cannot end or open a <script>, nor break its line.

    In JSON these characters stand only inside strings, where they can be escaped.
    """
    return json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
