"""The README and the documentation: every block of code in them runs, every link leads somewhere.

The blocks of one page run in order, in one folder. Commands are run as they stand, only smaller: `SMALL`
replaces the sizes and lengths that a user would not wait for in a test.
"""

import glob
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sarcover import __version__, cli
from sarcover.config import SimulateSettings
from sarcover.legend import legend_names
from sarcover.simulate import simulate

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = [page for page in PAGES if page.name != "architecture.md"]  # its blocks are signatures
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n)?^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SAMPLES = {"text", "json"}  # shown, not run

SMALL = {
    "simulate": "--size 384",
    "prepare": "--patch 64 --block 96 --guard 8",
    "pretrain": "--size tiny --steps 2 --batch 2 --pictures 0",
    "finetune": "--size tiny --steps 2 --batch 2 --validations 1",
    "evaluate": "--batch 16",
    "map": "--batch 16 --overlap 16",
}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    title: str | None
    reason: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["title"], m["reason"], m["text"]) for m in found]


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README takes for granted: a folder with the user's scenes and labels."""
    folder = tmp_path_factory.mktemp("landscape") / "data"
    return simulate(SimulateSettings(str(folder), size=384))


def smaller(words: list[str]) -> list[str]:
    """The words of one command, with the sizes of `SMALL` in place of those written."""
    change = shlex.split(SMALL.get(words[0], ""))
    for flag in [word for word in change if word.startswith("--")] + ["--epochs"]:
        if flag in words:
            place = words.index(flag)
            del words[place : place + 2]
    return [*words, *change]


def run_shell(text: str) -> None:
    """Each line is a command: sarcover's run in this process, make's targets must exist."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
            continue
        assert words[0] == "sarcover", f"not a command of ours: {line}"
        words = [match for word in words for match in sorted(glob.glob(word)) or [word]]
        assert cli.main(smaller(words[1:])) == 0, line


def test_the_documentation_has_blocks_to_run() -> None:
    runnable = [b for page in RUN for b in blocks(page) if b.language in ("sh", "python") and not b.reason]
    assert len(runnable) > 15


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_every_block_runs(
    page: Path, landscape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if page.name == "README.md":
        shutil.copytree(landscape, tmp_path, dirs_exist_ok=True)
    if page.name == "formats.md":
        files = f"--scenes {landscape}/scenes --labels {landscape}/labels"
        run_shell(f"sarcover prepare {files} --legend jaxa-hrlulc-9 --out store")
    for block in blocks(page):
        if block.reason or block.language in SAMPLES:
            continue
        if block.language == "sh":
            run_shell(block.text)
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), {"__name__": "page"})
        elif block.language == "yaml" and block.title:
            Path(block.title).write_text(block.text)
        else:
            pytest.fail(f"{page.name}: a block of {block.language or 'no language'} that nothing runs")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings]


def test_every_legend_and_verb_is_documented() -> None:
    legends = (ROOT / "docs" / "legends.md").read_text(encoding="utf-8")
    assert [name for name in legend_names() if f"`{name}`" not in legends] == []
    verbs = (ROOT / "docs" / "verbs.md").read_text(encoding="utf-8")
    assert [verb for verb in cli.VERBS if f"| `{verb}" not in verbs] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f": {page.name}" not in navigation] == []


def test_the_citation_names_the_three_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    cited = {reference["identifiers"][0]["value"] for reference in citation["references"]}
    assert cited == {"arXiv:2601.15705", "arXiv:2509.11952", "arXiv:2410.03962"}
    assert citation["version"] == __version__
