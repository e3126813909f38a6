"""What people read above a column of figures: few words, the unit, and which way is better."""

from collections.abc import Sequence

_ARROWS = {"up": "↑", "higher": "↑", "down": "↓", "lower": "↓"}


def family_title(name: str) -> str:
    """A family's name as a title; a word without a vowel is an abbreviation."""
    return name.capitalize() if set(name) & set("aeiou") else name.upper()


def column_headings(tasks: Sequence[tuple[str, str]], with_names: bool = False) -> dict[str, str]:
    """A heading for each task, given with its family: that, and the task's own name where the family has another.

    ``with_names``: the name stands even where the family is alone.
    """
    families = [family for _, family in tasks]
    return {
        task: family_title(family)
        + (f" {task.rpartition('/')[2]}" if with_names or families.count(family) > 1 else "")
        for task, family in tasks
    }


def unit_and_direction(unit: str, direction: str) -> str:
    """Such as ``% ↑``; nothing for what is unknown."""
    return " ".join(filter(None, ("%" if unit == "proportion" else unit, _ARROWS.get(direction, ""))))
