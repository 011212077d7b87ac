"""NXT XML: elements with their lines, what an href points to, and files that are broken in every way."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.corpora.ami.nxt import BrokenXml, pointer, read_nxt

HEAD = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n'
WORDS = (
    HEAD + '<nite:root nite:id="ES2002a.B.words" xmlns:nite="http://nite.sourceforge.net/">\n'
    '   <w nite:id="ES2002a.B.words0" starttime="50.42" endtime="50.99">Ok\xe9</w>\n'
    '   <vocalsound nite:id="ES2002a.B.words4"\n      starttime="55.415" endtime="55.415" type="other"/>\n'
    "</nite:root>\n"
)


def read(tmp_path: Path, text: str | bytes):
    path = tmp_path / "words.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("iso-8859-1"))
    return read_nxt(path)


def test_elements_keep_their_line_their_text_and_their_names_without_namespace(tmp_path):
    root, word, sound = read(tmp_path, WORDS).walk()
    assert (root.tag, root.id, root.line) == ("root", "ES2002a.B.words", 2)
    assert (word.tag, word.id, word.line, word.text) == ("w", "ES2002a.B.words0", 3, "Ok\xe9")
    assert word.attributes == {"id": "ES2002a.B.words0", "starttime": "50.42", "endtime": "50.99"}
    assert (sound.tag, sound.line, sound.attributes["type"]) == ("vocalsound", 4, "other")


def test_children_come_in_the_order_of_the_file_however_deep(tmp_path):
    depth = 3000
    text = "<a>" + "<b>" * depth + "<c/>" + "</b>" * depth + "<d/></a>"
    tags = [element.tag for element in read(tmp_path, text).walk()]
    assert tags == ["a", *["b"] * depth, "c", "d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WORDS[: WORDS.index("</nite")], "line 6: no element found"),
        (WORDS[:-40], "line 4: unclosed token"),
        ("", "line 1: no element found"),
        (WORDS.replace("</w>", "</v>"), "line 3: mismatched tag"),
        (WORDS.replace(' xmlns:nite="http://nite.sourceforge.net/"', ""), "line 2: unbound prefix"),
        (WORDS.replace("ISO-8859-1", "klingon"), "line 1: unknown encoding"),
        (WORDS.replace("ISO-8859-1", "utf-8"), "line 3: not well-formed"),
        (HEAD + "<a>&y;</a>", "line 2: undefined entity"),
        (HEAD + '<!DOCTYPE a [\n<!ENTITY x SYSTEM "/etc/hostname">]><a>&x;</a>', "line 3: it declares an entity, x,"),
        (HEAD + '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><a>&z;</a>', "line 2: it declares an entity, x,"),
        (b"\x00\xff", "line 1: "),
    ],
)
def test_a_broken_file_names_the_line(tmp_path, text, message):
    with pytest.raises(BrokenXml, match=message):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_broken(tmp_path):
    with pytest.raises(BrokenXml, match="cannot be read"):
        read_nxt(tmp_path)


@pytest.mark.parametrize("href", ["", "words.xml", "words.xml#id()", "#id(a)..id(b)x", "a#b#id(c)", "w.xml#id(a)..b"])
def test_an_href_of_another_form_is_refused(href):
    with pytest.raises(ValueError, match="is not of the form"):
        pointer(href)
