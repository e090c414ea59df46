"""check_site.py FOLDER: every link of a site's own pages leads to a file, and an anchor, that is there,
every picture is there and is one, and nothing is fetched from elsewhere. Ends with 1 if not."""

import html.parser
import os
import sys
import urllib.parse

PICTURES = {".svg": b"<", ".png": b"\x89PNG", ".gif": b"GIF8", ".ico": b"\x00\x00"}


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        if tag == "a" and values.get("href") is not None:
            self.links.append(values["href"])
        elif tag in ("img", "script", "iframe") and values.get("src"):
            self.loads.append(values["src"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "shortcut icon"):
            self.loads.append(values["href"])


def check(folder):
    pages, wrong, pictures = {}, [], 0
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".html"):
                path = os.path.join(place, name)
                with open(path, encoding="utf-8") as file:
                    pages[os.path.realpath(path)] = Page(file.read())
    for path, page in sorted(pages.items()):
        here = os.path.relpath(path, folder)
        for target in page.links + page.loads:
            address = urllib.parse.urlsplit(target)
            if address.scheme == "javascript":
                continue
            if address.scheme or address.netloc:
                if target in page.loads:
                    wrong.append(f"{here}: fetches {target}")
                continue
            name = urllib.parse.unquote(address.path)
            there = os.path.realpath(os.path.join(os.path.dirname(path), name) if name else path)
            if os.path.isdir(there):
                there = os.path.join(there, "index.html")
            if not os.path.exists(there):
                wrong.append(f"{here}: {target} is not there")
            # Doxygen's own pages name anchors that it does not make.
            elif there in pages and address.fragment and not here.startswith("reference") and (
                    urllib.parse.unquote(address.fragment) not in pages[there].anchors):
                wrong.append(f"{here}: {target}: there is no such anchor")
            elif target in page.loads and os.path.splitext(there)[1] in PICTURES:
                pictures += 1
                with open(there, "rb") as file:
                    if not file.read(8).startswith(PICTURES[os.path.splitext(there)[1]]):
                        wrong.append(f"{here}: {target} is no picture")
    return wrong if pages and pictures else wrong + ["no page, or no picture"]


if __name__ == "__main__":
    complaints = check(sys.argv[1])
    print("\n".join(complaints), end="\n" if complaints else "")
    sys.exit(bool(complaints))
