"""How the files beside an adversarial record are called. Without torch."""

from fractions import Fraction
from urllib.parse import quote


def png_name(series: str, eps: Fraction, unit_id: str) -> str:
    """The adversarial image of one unit, attack and radius; the unit's id with odd characters escaped."""
    return f"adversarial/{series}/{str(eps).replace('/', '_')}/{quote(unit_id, safe='')}.png"


def sheet_name(unit_id: str) -> str:
    """The sheet of one unit's adversarial images."""
    return f"sheets/{quote(unit_id, safe='')}.png"
