"""What files of a record are called. No torch."""

from urllib.parse import quote


def sheet_name(unit_id: str) -> str:
    """The file with the sheet of one image under all corruptions."""
    return f"sheets/{quote(unit_id, safe='')}.png"
