"""One meeting in the layout of AMI: its annotations as NXT XML, and recordings that are no more than names."""

from __future__ import annotations

from pathlib import Path

NITE = 'xmlns:nite="http://nite.sourceforge.net/"'
HEAD = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\n'
NXT = "ami_public_manual_1.6.2"
MEETING_XML = f"{NXT}/corpusResources/meetings.xml"


def nxt(*lines: str) -> str:
    return "\n".join([f'{HEAD}<nite:root nite:id="x" {NITE}>', *lines, "</nite:root>\n"])


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode("iso-8859-1"))
    return root


def speaker(letter: str, name: str, channel: str, camera: str) -> str:
    return (
        f'<speaker nite:id="{letter}1" camera="{camera}" channel="{channel}" nxt_agent="{letter}" '
        f'global_name="{name}" role="PM"/>'
    )


def segment(start_s: object, end_s: object) -> str:
    return f'<segment nite:id="s" channel="0" transcriber_start="{start_s}" transcriber_end="{end_s}"/>'


def act(kind: str, first: str, last: str, seat: str = "ES2002a.A") -> str:
    href = f"{seat}.words.xml#id({seat}.{first})..id({seat}.{last})"
    pointer = f'<nite:pointer role="da-aspect" href="da-types.xml#id({kind})"/>'
    return f'<dact nite:id="d">{pointer}<nite:child href="{href}"/></dact>'


MEETINGS_TEXT = nxt(
    '<meeting nite:id="m1" observation="ES2002a" type="scenario" duration="40">',
    speaker("A", "MEE006", "1", "Closeup4"),
    speaker("B", "FÉO072", "0", "Closeup1"),
    "</meeting>",
)
WORDS_A = nxt(
    '<w nite:id="ES2002a.A.w0" starttime="1.0" endtime="1.5">Good</w>',
    '<w nite:id="ES2002a.A.w1" starttime="1.5" endtime="2.0">morning</w>',
    '<w nite:id="ES2002a.A.w2" starttime="2.0" endtime="2.0" punc="true">.</w>',
    '<w nite:id="ES2002a.A.w3">untimed</w>',
    '<vocalsound nite:id="ES2002a.A.w4" starttime="11.0" endtime="11.0" type="laugh"/>',
    '<w nite:id="ES2002a.A.w5" starttime="20.0" endtime="20.5">No</w>',
    '<vocalsound nite:id="ES2002a.A.w6" starttime="20.6" endtime="20.9" type="cough"/>',
)
FILES: dict[str, str | bytes] = {
    MEETING_XML: MEETINGS_TEXT,
    f"{NXT}/corpusResources/participants.xml": nxt(
        '<participant nite:id="MEE006" sex="M" age_at_collection="31" native_language="English">'
        '<english_language region="Scotland"/></participant>',
        '<participant nite:id="FÉO072" sex="F" native_language="French"/>',
    ),
    f"{NXT}/ontologies/da-types.xml": (
        f'<da-type nite:id="cmrda" {NITE}><da-type nite:id="ami_da_1" name="bck"/>'
        '<da-type nite:id="ami_da_14" name="be.pos"/><da-type nite:id="ami_da_15" name="be.neg"/></da-type>'
    ),
    f"{NXT}/segments/ES2002a.A.segments.xml": nxt(segment(1.0, 2.2), segment(10, 12), segment(20.0, 21.0)),
    f"{NXT}/segments/ES2002a.B.segments.xml": nxt(segment("1.5", "4.0")),
    f"{NXT}/words/ES2002a.A.words.xml": WORDS_A,
    f"{NXT}/words/ES2002a.B.words.xml": nxt(),
    f"{NXT}/dialogueActs/ES2002a.A.dialog-act.xml": nxt(
        act("ami_da_14", "w0", "w2"), act("ami_da_1", "w5", "w5"), act("ami_da_15", "w5", "w6")
    ),
    "amicorpus/ES2002a/audio/ES2002a.Headset-0.wav": b"x",
    "amicorpus/ES2002a/audio/ES2002a.Headset-1.wav": b"x",
    "amicorpus/ES2002a/audio/ES2002a.Mix-Headset.wav": b"x",
    "amicorpus/ES2002a/audio/ES2002a.Array1-01.wav": b"x",
    "amicorpus/ES2002a/audio/ES2002a.Lapel-0.wav": b"x",
    "amicorpus/ES2002a/video/ES2002a.Closeup1.avi": b"x",
    "amicorpus/ES2002a/video/ES2002a.Closeup4.avi": b"x",
    "amicorpus/ES2002a/video/ES2002a.Corner.avi": b"x",
}
