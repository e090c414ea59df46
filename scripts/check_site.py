"""check_site.py FOLDER: every link of a site's own pages leads to a file, and an anchor, that is there,
every picture is there and whole, and nothing is fetched from elsewhere. Ends with 1 if not."""

import html.parser
import os
import struct
import sys
import urllib.parse
import xml.etree.ElementTree
import zlib


def is_svg(data):
    try:
        return xml.etree.ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"
    except xml.etree.ElementTree.ParseError:
        return False


def is_png(data):
    """Every chunk is whole, and what they hold can be unpacked."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at, pixels = 8, b""
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body, check = data[at + 8:at + 8 + size], data[at + 8 + size:at + 12 + size]
        if check != struct.pack(">I", zlib.crc32(kind + body)):
            return False
        pixels += body if kind == b"IDAT" else b""
        at += 12 + size
        if kind == b"IEND":
            try:
                return len(zlib.decompress(pixels)) > 0
            except zlib.error:
                return False
    return False


PICTURES = {".svg": is_svg, ".png": is_png, ".gif": lambda data: data.startswith(b"GIF8"),
            ".ico": lambda data: data.startswith(b"\x00\x00")}


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
                    if not PICTURES[os.path.splitext(there)[1]](file.read()):
                        wrong.append(f"{here}: {target} is no picture")
    return wrong if pages and pictures else wrong + ["no page, or no picture"]


if __name__ == "__main__":
    complaints = check(sys.argv[1])
    print("\n".join(complaints), end="\n" if complaints else "")
    sys.exit(bool(complaints))
