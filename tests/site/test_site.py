"""The pages as they are served: every link leads somewhere, and the reference has everything that the code has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from prometheus_client import CollectorRegistry

import libbucket
from libbucket import Reason
from libbucket._run.cli import OPTIONS
from website import reference

ROOT = Path(__file__).parents[2]
SUBJECTS = {
    "start": "One path per store",
    "concepts": "claim.svg",
    "tasks": "Task",
    "operating": "RBAC",
    "disasters": "The API server was restored",
    "reliability": "Crashes",
    "performance": "requests",
    "security": "Threat model",
    "migration": "NooBaa",
    "writing-a-provisioner": "HttpApi",
    "s3-compatible": "Garage",
}


@dataclass
class Page(HTMLParser):
    """The links and anchors of one page."""

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    images: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.images.append((given["src"], given.get("alt", "")))


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: read(path) for path in site.rglob("*.html") if "files" not in path.relative_to(site).parts}


def broken_links(pages: dict[Path, Page]) -> list[str]:
    """Links within the site that lead to no file, or to no anchor of a page."""
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            missing = known is not None and parts.fragment and unquote(parts.fragment) not in known.anchors
            broken += [f"{path.name}: {link}"] if missing or not target.exists() else []
    return broken


def test_every_link_and_anchor_of_the_site_resolves(pages: dict[Path, Page]) -> None:
    assert len(pages) > 40
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert broken_links(pages) == []


def test_a_broken_link_is_detected(tmp_path: Path) -> None:
    one, two = tmp_path / "one.html", tmp_path / "two.html"
    one.write_text('<a href="two.html#here">a</a><a href="two.html#gone">b</a><a href="gone.html">c</a>')
    two.write_text('<p id="here">')

    assert broken_links({one: read(one), two: read(two)}) == ["one.html: two.html#gone", "one.html: gone.html"]


def test_every_image_exists_and_has_a_text(pages: dict[Path, Page]) -> None:
    found = [(path, source, text) for path, page in pages.items() for source, text in page.images]

    assert len(found) >= 5
    assert [source for path, source, _ in found if not (path.parent / source).is_file()] == []
    assert [source for _, source, text in found if len(text) < 10] == []


def test_no_markup_is_left_in_the_text(pages: dict[Path, Page]) -> None:
    left = re.compile(r"\{eval-rst\}|\]\([a-z./]+\.md|:class:`|```")

    assert [path.name for path in pages if left.search(re.sub(r"(?s)<pre>.*?</pre>", "", path.read_text()))] == []


def test_the_front_page_says_what_why_and_how(site: Path) -> None:
    text = (site / "index.html").read_text()

    for part in ("Self-service buckets", "Without it", "nox -s demo"):
        assert part in shown(text)
    assert "demo.svg" in text
    assert text.count('<span class="gp">$ </span>') == 3, "three commands"


@pytest.mark.parametrize(("name", "content"), SUBJECTS.items())
def test_there_is_a_page_about(name: str, content: str, site: Path) -> None:
    assert content in (site / f"{name}.html").read_text()


def test_every_page_has_a_place_in_the_navigation(site: Path) -> None:
    captions = re.findall(r'class="caption-text">([^<]+)<', (site / "index.html").read_text())

    assert "Operate" in captions
    assert "More" not in captions


def shown(html: str) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


def page(site: Path, name: str) -> str:
    return shown((site / "reference" / f"{name}.html").read_text())


def test_the_reference_has_every_reason_flag_and_metric(site: Path) -> None:
    reasons, flags, metrics = (page(site, name) for name in ("reasons", "flags", "metrics"))
    named = set(re.findall(r"`(libbucket_\w+)`", (ROOT / "docs/operating.md").read_text()))

    assert [reason for reason in Reason if reason not in reasons] == []
    assert [option.flags[0] for option in OPTIONS if option.flags[0] not in flags] == []
    assert len(named) >= 10
    assert [name for name in named if name not in metrics] == []
    assert isinstance(reference._used().registry, CollectorRegistry)


def test_the_reference_has_every_field_of_the_resources(site: Path) -> None:
    text = page(site, "resources")
    names: set[str] = set()
    for path in (ROOT / "crds").glob("*.yaml"):
        schema = yaml.safe_load(path.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        names |= {field for field, _, _ in reference._fields(schema, "")}

    assert len(names) > 30
    assert [name for name in names if name.strip("`") not in text] == []


@pytest.mark.parametrize("store", reference.STORES)
def test_the_reference_has_every_parameter_that_a_readme_explains(store: str, site: Path) -> None:
    text = page(site, "parameters")
    readme = (ROOT / "packages" / store.replace("_", "-") / "README.md").read_text()
    section = readme.partition("\n## StorageClass parameters\n")[2].partition("\n## ")[0]
    table = section[section.index("| --") if "| --" in section else section.index("|--") :].partition("\n\n")[0]
    named = {name for row in re.findall(r"(?m)^\| (`[^|]+) \|", table) for name in re.findall(r"`(\w+)`", row)}
    of_the_core = {"bucketName", "deletionPolicy", "purgeByAnnotation", "purgeAfter"}

    assert len(named) > 5
    assert [name for name in named - of_the_core if name not in text] == []


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text()

    assert [name for name in libbucket.__all__ if f'id="libbucket.{name}"' not in text] == []


def test_what_scrolls_can_be_reached_by_keyboard_and_landmarks_have_names(site: Path) -> None:
    for path in (site / "index.html", site / "operating.html", site / "reference" / "api.html"):
        text = path.read_text()
        assert "<pre>" not in text
        assert re.findall(r'<div class="table-wrapper[^"]*">', text) == []
        assert re.findall(r"<aside(?![^>]*aria-label)[^>]*>", text) == []
        assert re.findall(r'role="heading"(?! aria-level)', text) == []
