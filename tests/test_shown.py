"""What a stranger's text may do to a terminal: nothing."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.commands.ending import run_to_exit
from assay.common.errors import UserError
from assay.common.shown import PlainStream, on_one_line

STEERS = ["\x1b[2J", "\x9b1A", "\u202eevil", "\x07", "a\rb", "\x00", "a\x7f"]


@given(st.text())
def test_a_line_is_printable_and_a_printable_text_stays_as_it_is(text):
    shown = on_one_line(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


@given(st.lists(st.text(), max_size=3))
def test_a_stream_keeps_lines_and_lets_no_control_character_through(texts):
    stream = io.StringIO(newline="")
    PlainStream(stream).writelines(texts)
    written = stream.getvalue()
    assert not any(unicodedata.category(each) == "Cc" for each in written if each not in "\n\t")
    assert [written.count(each) for each in "\n\t"] == ["".join(texts).count(each) for each in "\n\t"]


@pytest.mark.parametrize("text", STEERS)
def test_a_verb_s_answer_and_its_complaint_are_escaped(capsys, text):
    def verb():
        print(f"a title: {text}\nand a table")
        raise UserError(f"{text}: unknown; choose another")

    with pytest.raises(SystemExit):
        run_to_exit(verb)
    answer, complaint = capsys.readouterr()
    assert answer.splitlines() == [f"a title: {on_one_line(text)}", "and a table"]
    assert complaint == f"assay: {on_one_line(text)}: unknown; choose another\n"
    assert text not in answer + complaint
