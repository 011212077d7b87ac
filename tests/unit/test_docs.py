"""The documentation leads where it says: links, the modules that it names, and one version everywhere."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import mien
from conftest import ROOT
from mien.features.extractors import EXTRACTORS

PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", ".git", "quickstart", "runs", "tutorial"} & set(path.relative_to(ROOT).parts)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.S | re.M)
NO_MODULES = {"mien.feature_spec"}  # a key in the metadata of a part
MODULE = re.compile(r"`(mien(?:\.[a-z_0-9]+)+)(?:\.[A-Z]\w*)?`")


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_pages_with_links():
    assert len(PAGES) > 20
    assert sum(len(LINK.findall(page.read_text())) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"\w+:", link):  # other sites are not asked for
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_are_there(page: Path):
    def is_there(name: str) -> bool:
        if name in NO_MODULES:
            return True
        parent, _, last = name.rpartition(".")
        try:
            if find_spec(name):
                return True
        except ModuleNotFoundError:  # its parent is a module and no package
            pass
        found = find_spec(parent)  # a function or constant of a module
        return bool(
            found
            and found.origin
            and re.search(rf"^(def|class) {last}\b|^{last}\b.*=", Path(found.origin).read_text(), re.M)
        )

    if page.name == "CHANGELOG.md" or "decisions" in page.parts:  # they say what was
        return
    assert [name for name in MODULE.findall(page.read_text()) if not is_there(name)] == []


def test_features_are_listed_in_the_order_of_the_registry():
    table = (ROOT / "docs/explanation/features.md").read_text().partition("Each has settings")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.M) == list(EXTRACTORS)
    source = (ROOT / "platform/mien/cli/features.py").read_text()
    assert re.split(r"[,;]\s+", re.findall(r"features: (egemaps,.*?); or MODULE", source, re.S)[0]) == list(EXTRACTORS)


def test_the_version_is_the_same_wherever_it_stands():
    version = mien.__version__
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "docs" / "CHANGELOG.md").read_text()
    assert 'attr = "mien.__version__"' in (ROOT / "pyproject.toml").read_text()


REASON = re.compile(r"[a-z]+(-[a-z]+)*")


def reasons_in(source: Path) -> set[str]:
    """What a module gives as the reason of a reject: of its errors, of its calls of a `reject`, and of its flaws, which
    are a reason and a sentence."""
    found: set[object] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("MediaError", "Misplaced", "Unusable"):
                given = node.args[:1]
            elif name.lstrip("_") == "reject":
                given = node.args[2:-1]
            elif name == "_read" and len(node.args) == 4:  # of the annotations of AMI
                given = node.args[2:3]
            given += [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[1], ast.JoinedStr):
            given = node.elts[:1]
        found |= {one.value for one in given if isinstance(one, ast.Constant)}
    return {one for one in found if isinstance(one, str) and REASON.fullmatch(one)}


def test_each_reason_of_a_reject_is_explained():
    """In a table, or a list of codes, of the reference."""
    pages = [(ROOT / "docs/reference" / name).read_text() for name in ("corpora.md", "store.md")]
    explained = {code for page in pages for code in re.findall(r"`([a-z-]+)`", page)}
    explained |= {
        code for page in pages for row in re.findall(r"^\| ([a-z, -]+) \|", page, re.M) for code in row.split(", ")
    }
    of_features = (ROOT / "platform/mien/features").rglob("[!_]*.py")
    sources = [*(path for path in sources_of_rejects() if "corpora" in path.parts), *of_features]
    given = {code: source.name for source in sources for code in reasons_in(source)}
    assert len(given) > 60
    assert {code: name for code, name in given.items() if code not in explained} == {}


def sources_of_rejects() -> list[Path]:
    rooms = ("corpora", "features", "predict")
    return [
        path for room in rooms for path in (ROOT / "platform/mien" / room).rglob("*.py") if "sample" not in path.parts
    ]


def is_read(source: Path) -> bool:
    """Registries name features and media, which look like reasons."""
    return source.name != "__init__.py" or source.parent.name in ("ami", "mahnob", "table")


def test_the_catalogue_of_errors_has_each_reason_and_no_other():
    page, _, _ = (ROOT / "docs/reference/errors.md").read_text().partition("## Sentences")
    listed = {code for row in re.findall(r"^\| (`.*?) \|", page, re.M) for code in re.findall(r"`([a-z-]+)`", row)}
    given = {code for source in sources_of_rejects() if is_read(source) for code in reasons_in(source)}
    assert len(listed) > 70 and given - listed == set(), "a reason that the catalogue lacks"
    texts = {text for source in sources_of_rejects() for text in texts_in(source)}
    made = {f"no-{name}" for name in ("audio", "video", "eeg", "physio", "openface", "audio-stream", "video-stream")}
    made |= {f"missing-{name}" for name in ("words", "segments")}
    assert listed - texts - made == set(), "a code that no source gives any more"


def texts_in(source: Path) -> set[str]:
    """The texts of a module, those with a place for a value in pieces, without its docstrings."""
    tree = ast.parse(source.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_the_sentences_of_the_catalogue_are_those_of_the_code():
    _, _, sentences = (ROOT / "docs/reference/errors.md").read_text().partition("## Sentences")
    fragments = [one for row in re.findall(r"^\| (`.*?) \|", sentences, re.M) for one in re.findall(r"`(.*?)`", row)]
    assert len(fragments) > 20
    said = "\n".join(sorted({text for path in (ROOT / "platform/mien").rglob("*.py") for text in texts_in(path)}))
    assert [one for one in fragments if one not in said] == []
