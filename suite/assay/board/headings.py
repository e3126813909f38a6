"""What people read above a column of figures, in few words."""

from collections.abc import Sequence


def family_title(name: str) -> str:
    """A family's name as a title; a word without a vowel is an abbreviation."""
    return name.capitalize() if set(name) & set("aeiou") else name.upper()


def in_a_sentence(title: str) -> str:
    """A figure's title within a sentence: in lower case except abbreviations, the part after a comma in brackets.

    Words before a colon, which say how the figure is known, are left out.
    """
    words, _, details = title.rpartition(": ")[2].partition(", ")
    words = words if words[:2].isupper() else words[:1].lower() + words[1:]
    return f"{words} ({details})" if details else words


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
