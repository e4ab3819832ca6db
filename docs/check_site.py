"""Check the pages that Sphinx has made: ``python docs/check_site.py docs/_build/html``.

Every link and anchor inside the site leads somewhere, every picture has a text alternative, nothing
is loaded from elsewhere, and every public name has its place in the reference.
"""

import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fastnn

#: Attributes by which a page loads something as it is shown.
LOADED = {
    *(("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")),
}
#: `rel` of links that are loaded.
RELS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect"}


class Page(HTMLParser):
    """What a page links to and loads, its anchors, and its pictures without a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.bare: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = {name: value or "" for name, value in attributes}
        self.anchors.update(found[key] for key in ("id", "name") if key in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.loaded += [value for name, value in found.items() if (tag, name) in LOADED]
        if tag == "link" and RELS & set(found.get("rel", "").split()):
            self.loaded.append(found["href"])
        alternative = found.get("alt", "").strip()
        if tag == "img" and (not alternative or alternative == found.get("src", "").split("/")[-1]):
            self.bare.append(found.get("src", "?"))


def faults(folder: Path) -> list[str]:
    """What is wrong with the site in a folder, one line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder)
        found += [f"{name}: the picture {source} has no text alternative" for source in page.bare]
        for target in page.links + page.loaded:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loaded and parts.scheme != "data":
                    found.append(f"{name}: loads {target} from elsewhere")
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not goal.exists():
                found.append(f"{name}: {target} leads nowhere")
            elif (
                parts.fragment
                and goal in pages
                and unquote(parts.fragment) not in pages[goal].anchors
            ):
                found.append(f"{name}: there is no anchor {target}")
    for path in folder.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        if "@import" in text or "url(http" in text or "url(//" in text:
            found.append(f"{path.relative_to(folder)}: loads something from elsewhere")
    return found + missing(folder / "objects.inv")


def missing(inventory: Path) -> list[str]:
    """The public names that the reference lacks."""
    from sphinx.util.inventory import InventoryFile  # the tests import this module without Sphinx

    objects = InventoryFile.loads(inventory.read_bytes(), uri="").data
    known = {name for kind, names in objects.items() if kind.startswith("py:") for name in names}
    return [
        f"the reference lacks fastnn.{name}"
        for name in [*fastnn.__all__, *fastnn.ESTIMATORS]
        if not any(path.startswith("fastnn.") and path.endswith(f".{name}") for path in known)
    ]


def sizes(folder: Path) -> str:
    """How large the site is, and what of it."""
    by_suffix: dict[str, int] = defaultdict(int)
    for path in folder.rglob("*"):
        if path.is_file():
            by_suffix[path.suffix or "others"] += path.stat().st_size
    parts = sorted(by_suffix.items(), key=lambda item: -item[1])
    total = f"{sum(by_suffix.values()) / 1e6:.1f} MB"
    return f"{total}: " + ", ".join(f"{name} {size / 1e6:.2f}" for name, size in parts[:6])


def main(folder: Path) -> int:
    """Print the faults and the size; 1 if there is a fault."""
    found = faults(folder)
    for fault in found:
        print(fault)
    print(f"{len(list(folder.rglob('*.html')))} pages, {sizes(folder)}; {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
