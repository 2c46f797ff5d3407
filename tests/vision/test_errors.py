"""An error is one line, whatever the names in it."""

from __future__ import annotations

import pickle

import pytest

from sentinel_assets.vision.errors import NotAVideo, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("가게 #1 [red]%s.mp4", "가게 #1 [red]%s.mp4"),  # letters stay as they are
        ("two\nlines\tand\rover", "two\\nlines\\tand\\rover"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),  # commands to a terminal
        ("\x9b31m", "\\x9b31m"),  # the same in one character, of C1
        ("\u202e4pm.exe", "\\u202e4pm.exe"),  # turns the direction of what follows
        ("bad\udcff", "bad\\udcff"),  # a byte that is no UTF-8; printing it would raise
    ],
)
def test_a_name_in_an_error_cannot_speak_to_the_terminal(name: str, shown: str) -> None:
    error = NotAVideo("no video", where=name, remedy="Look")
    assert str(error) == f"{shown}: no video. Look"
    assert error.where == name, "programs find it as it is"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - made on this line
    assert printable(printable(name)) == printable(name)
