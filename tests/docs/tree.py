"""The source tree as the documents' tests see it, and how a page is taken apart."""

import os
import re

TOP_PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
LEFT_OUT = {"build", "dist", "__pycache__"}
HIDDEN = {".ci", ".github"}  # of the tree; others are a developer's own, and may be large


class Tree:
    """Files by their paths. `planted` replaces the text of some: faults that the checks must find.
    """

    def __init__(self, root, planted=None):
        self.root = root
        self.planted = planted or {}
        self.files = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in set(folders) - LEFT_OUT
                                if name[0] != "." or name in HIDDEN)
            self.files += [os.path.relpath(os.path.join(folder, name), root) for name in names]
        self.pages = TOP_PAGES + sorted(
            path for path in self.files if re.fullmatch(r"docs/[^/]+\.md", path))

    def read(self, path):
        if path in self.planted:
            return self.planted[path]
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def text(self, *beginnings):
        """All of the files whose paths begin so."""
        return "\n".join(self.read(path) for path in self.files if path.startswith(beginnings))


class Block:
    """A fenced block: its language, its text, and the comment before it, if there is one."""

    def __init__(self, page, line, language, text, comment):
        self.where = f"{page}:{line}"
        self.language, self.text, self.comment = language, text, comment


def blocks(tree):
    found = []
    for page in tree.pages:
        text = tree.read(page)
        for match in re.finditer(r"(?:<!-- (.+?) -->\n)?```(\w*)\n(.*?)^```$", text, re.M | re.S):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match[2], match[3], match[1]))
    return found


def prose(text):
    """A page without its fenced and indented blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def codes(tree, pages=None):
    """(page, code) for each `code` in the prose."""
    return [(page, code) for page in pages or tree.pages
            for code in re.findall(r"`([^`\n]+)`", prose(tree.read(page)))]


def indented(text):
    return re.findall(r"^    (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
