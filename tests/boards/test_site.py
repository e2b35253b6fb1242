"""The site as text: stable to the byte, whole in its links, safe with hostile text, readable without scripts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.boards.made_up import registry, timing
from tests.boards.made_up_site import HOSTILE, REF, make, write
from zoo.boards.collect import Collection, collect
from zoo.boards.leaderboard import render
from zoo.boards.site import site_files
from zoo.boards.site.shared import rich
from zoo.errors import DependencyError
from zoo.leaderboard import main
from zoo.results.store import save_record

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Links, anchors, resources and text of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.resources: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        elif given.get("src") or given.get("href"):
            self.resources.append(str(given.get("src") or given.get("href")))
        assert not any(name.startswith("on") for name in given), f"a handler in <{tag}>"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text.append(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boards")
    collection = make(folder)
    write({**render(collection), **site_files(collection)}, folder)
    return folder


@pytest.fixture(scope="module")
def pages(out: Path) -> dict[str, Page]:
    return {p.relative_to(out).as_posix(): Page(p.read_text(encoding="utf-8")) for p in sorted(out.rglob("*.html"))}


def test_there_is_a_page_for_everything(pages: dict[str, Page]) -> None:
    models = ("quick-net", "slow-net", "closed-net", "paper-net", "unknown-net")
    assert {"index.html", "compare.html", f"boards/{REF}.html", "latency/cpu@1.html",
            "papers/libreface-2023-table-3.html", *(f"models/{m}.html" for m in models)} <= set(pages)  # fmt: skip


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(out: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https", (name, link)
                continue
            target = (out / name).parent / unquote(parts.path) if parts.path else out / name
            assert target.resolve().is_file(), (name, link)
            if parts.fragment and "=" not in parts.fragment:
                other = pages[target.resolve().relative_to(out.resolve()).as_posix()]
                assert parts.fragment in other.ids, (name, link)
        for resource in page.resources:
            assert resource.startswith("data:,") or ((out / name).parent / resource).resolve().is_file(), (
                name,
                resource,
            )
        assert len(set(page.ids)) == len(page.ids), name


def test_text_of_others_stays_text(out: Path, pages: dict[str, Page]) -> None:
    for name in pages:
        text = (out / name).read_text(encoding="utf-8")
        assert HOSTILE not in text, name
        assert "<img" not in text, name
    shown = "".join(pages[f"boards/{REF}.html"].text)
    assert HOSTILE in shown  # the erratum's sentence, as it was written


def test_a_sentence_in_markdown_keeps_its_links_and_nothing_else() -> None:
    assert rich("`a` [record](../x.json), [b](https://b.org/c?d=1&e)") == (
        '<code>a</code> <a href="../x.json">record</a>, <a href="https://b.org/c?d=1&amp;e">b</a>'
    )
    assert rich("[a](javascript:b) <i>") == "[a](javascript:b) &lt;i&gt;"
    assert rich('[a](../b" onclick="c)') == '<a href="../b&quot; onclick=&quot;c">a</a>'


def test_a_model_whose_structure_was_timed_leads_to_the_cases(tmp_path: Path) -> None:
    for median, runtime in ((7.0, "openvino"), (9.0, "onnxruntime")):
        made = timing("slownet", median, runtime=runtime, weights="random", architecture="slownet")
        save_record(made, tmp_path)
    page = site_files(collect(tmp_path, registry=registry(tmp_path)))["models/slow-net.html"]
    assert "Its own files were not timed; its structure <code>slownet</code> was, with random weights." in page
    assert "at best 7.00 ms (openvino fp32, 1 thread, structure) a picture, network alone" in page
    assert '<a href="../latency/cpu@1.html#q=slownet">cpu@1, 2 cases</a>' in page
    assert 'id="latency"' in page and "onnxruntime" not in page


def test_it_is_readable_without_scripts(pages: dict[str, Page]) -> None:
    shown = " ".join(pages[f"boards/{REF}.html"].text)
    for words in ("0.850 [0.800, 0.900]", "in-sample", "Reported only", "Paper net", "weights unavailable",
                  "wrong weights", "Research only"):  # fmt: skip
        assert words in shown
    index = " ".join(pages["index.html"].text)
    assert "slow-net" in index
    assert "How to read a board" in index


def test_every_record_is_linked(out: Path, pages: dict[str, Page]) -> None:
    linked = {
        ((out / name).parent / unquote(urlsplit(link).path)).resolve()
        for name, page in pages.items()
        for link in page.links
    }
    assert {p.resolve() for p in (out / "results").rglob("*.json")} <= linked


def test_pages_do_not_depend_on_the_order_of_hashes(tmp_path: Path) -> None:
    make(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.boards.made_up import registry;"
        "from zoo.boards.collect import collect; from zoo.boards.leaderboard import render;"
        "from zoo.boards.site import site_files; import hashlib; out = Path(sys.argv[1]);"
        "c = collect(out, registry=registry(out)); files = {**render(c), **site_files(c)};"
        "print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())"
    )
    seen = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
        )
        seen.add(done.stdout)
    assert len(seen) == 1


def test_without_jinja2_the_core_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(DependencyError) as caught:
        site_files(collect(tmp_path))
    assert "libreface-zoo[site]" in str(caught.value)


def digest(out: Path) -> dict[str, str]:
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()
    }


def test_the_verb_writes_checks_and_clears(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    assert main([f"out={tmp_path}"]) == 0
    first = digest(tmp_path)
    assert "index.html" in first
    assert main([f"out={tmp_path}"]) == 0
    assert digest(tmp_path) == first
    assert main([f"out={tmp_path}", "check=true"]) == 0
    page = tmp_path / "models" / "hog-ridge.html"
    page.write_text(page.read_text().replace("Apache", "Apche"))
    old = tmp_path / "models" / "long-gone.html"
    old.write_text((tmp_path / "models" / "hog-ridge.html").read_text())
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine")
    capsys.readouterr()
    assert main([f"out={tmp_path}", "check=true"]) == 1
    told = capsys.readouterr().err
    assert "models/hog-ridge.html: differs" in told
    assert "models/long-gone.html: no record stands behind it" in told
    assert main([f"out={tmp_path}", "check=true", "site=false"]) == 0
    assert main([f"out={tmp_path}"]) == 0
    assert not old.exists()
    assert mine.exists()


def test_numbers_are_never_mixed_between_measured_and_reported(out: Path) -> None:
    text = (out / "boards" / f"{REF}.html").read_text(encoding="utf-8")
    ranked = text.split('id="ranked"')[1].split('id="not-rankable"')[0]
    assert "Paper net" not in ranked
    assert "unknown-net" not in ranked
    collection: Collection = collect(out)
    assert collection.project
