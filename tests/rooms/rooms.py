"""The rooms of src/, as CONTRIBUTING.md draws them, and the checks that hold the tree to the drawing.
Each check takes the House and returns what is wrong, in words; one that finds nothing to look at
says so."""

import os
import re
import subprocess

# What stands beside src/ may include of it this much, by folders of the tree. common/ is compiled into
# each of them, and into the library.
BESIDE = {
    "drivers": {"driver.h", "base"},
    "models": {"base"},
    "common": set(),
    "triton": set(),
    "wire": set(),
    "cli": set(),
    "bench": {"base/lock_record.h"},  # bench/scaling measures how long our locks are held
    "examples": set(),
    "bindings": set(),
}
FILE_MAX, HEADER_MAX, FUNCTION_MAX = 600, 200, 60


def without_comments(text):
    """The text with comments, strings and characters blanked, line for line."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda found: re.sub(r"[^\n]", " ", found[0]), text, flags=re.S)


class House:
    """The tree's C, its rooms from the highest to the lowest, and what its objects define and need.
    `planted` replaces files' texts, `nm` the answer of nm for an object."""

    def __init__(self, root, objects=None, nm=None, planted=None, planted_nm=None):
        self.root, self.objects, self.program = root, objects, nm
        self.planted, self.planted_nm = planted or {}, planted_nm or {}
        self.files = sorted(self._walk())
        drawing = re.search(r"^## The rooms of src/$.*?^```\w*\n(.*?)^```$",
                            self.read("CONTRIBUTING.md"), re.M | re.S)
        self.rooms = re.findall(r"^src/(\w+)(?:/|\.h)\s", drawing[1], re.M) if drawing else []

    def _walk(self):
        for top in ("src", *BESIDE):
            for folder, _, names in os.walk(os.path.join(self.root, top)):
                for name in names:
                    if name.endswith((".c", ".h")):
                        yield os.path.relpath(os.path.join(folder, name), self.root)

    def read(self, path):
        if path in self.planted:
            return self.planted[path]
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def sources(self):
        return [path for path in self.files if path.startswith("src/")]

    def room(self, path):
        """The room of a file of src/, by its path from src/ on; driver.h is one of its own."""
        return re.match(r"(\w+)[/.]", path)[1]

    def height(self, room):
        """0 is the lowest; None: it is not in the drawing."""
        return len(self.rooms) - 1 - self.rooms.index(room) if room in self.rooms else None

    def includes(self, path):
        """What a file includes of src/, by the path from there on."""
        found = re.findall(r'^\s*#\s*include\s*"([^"]+)"', self.read(path), re.M)
        there = {name[len("src/"):] for name in self.sources()}
        return [name for name in (re.sub(r"^src/", "", name) for name in found) if name in there]

    _answers = {}  # of nm, by object: they are the same for every fault

    def _nm(self, path):
        if path not in self._answers:
            self._answers[path] = subprocess.run([self.program, path], capture_output=True,
                                                 text=True, check=True).stdout
        return self._answers[path]

    def symbols(self):
        """(object, its source, what it defines, what it needs) for each object of src/."""
        for folder, _, names in os.walk(self.objects):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(folder, name), self.objects)
                if not re.match(r"src/.*\.c\.o(bj)?$", path):
                    continue
                text = self.planted_nm.get(path) or self._nm(os.path.join(folder, name))
                source = re.sub(r"\.o(bj)?$", "", path)
                defined = set(re.findall(r"^\w+ [A-TV-Z] _?(\w+)$", text, re.M))
                needed = set(re.findall(r"^ +U _?(\w+)$", text, re.M))
                if source in self.files:  # else an object of before
                    yield path, source, defined, needed


def drawing(house):
    """The drawing has every room there is, and no other."""
    there = {house.room(path[len("src/"):]) for path in house.sources()}
    wrong = [f"CONTRIBUTING.md draws no src/{room}" for room in sorted(there - set(house.rooms))]
    wrong += [f"CONTRIBUTING.md draws src/{room}, which is not there"
              for room in sorted(set(house.rooms) - there)]
    return wrong if house.rooms else ["CONTRIBUTING.md draws no rooms"]


def downwards(house):
    """No file includes a room above its own."""
    wrong, seen = [], 0
    for path in house.sources():
        own = house.height(house.room(path[len("src/"):]))
        for name in house.includes(path):
            seen += 1
            if (house.height(house.room(name)) or 0) > (own or 0):
                wrong.append(f"{path} includes {name}, which lies above it")
    return wrong if seen else ["no file includes another"]


def defined_below(house):
    """No object needs what a room above its own defines."""
    objects = list(house.symbols())
    homes = {name: source for _, source, defined, _ in objects for name in defined}
    wrong = []
    for path, source, _, needed in objects:
        own = house.height(house.room(source[len("src/"):]))
        for name in sorted(needed & set(homes)):
            if (house.height(house.room(homes[name][len("src/"):])) or 0) > (own or 0):
                wrong.append(f"{source} needs {name}, which {homes[name]} defines, above it")
    return wrong if objects else [f"no objects in {house.objects}"]


def no_circle(house):
    """No header comes to include itself."""
    graph = {path[len("src/"):]: house.includes(path) for path in house.sources()
             if path.endswith(".h")}
    done, wrong = set(), []

    def walk(path, above):
        if path in above:
            wrong.append(" -> ".join(above[above.index(path):] + [path]))
        elif path not in done:
            for name in graph.get(path, []):
                walk(name, above + [path])
            done.add(path)

    for path in graph:
        walk(path, [])
    return wrong if graph else ["there are no headers"]


def beside(house):
    """What stands beside src/ includes of it no more than it may."""
    wrong, seen = [], 0
    for path in house.files:
        top = path.split("/")[0]
        if top == "common":
            others = re.findall(r'^\s*#\s*include\s*(?:"(?!common/)|<(?=ferry/))([^">]+)',
                                house.read(path), re.M)
            wrong += [f"{path} includes {name}: common/ may not" for name in others]
            continue
        for name in house.includes(path) if top in BESIDE else []:
            seen += 1
            if name not in BESIDE[top] and name.split("/")[0] not in BESIDE[top]:
                wrong.append(f"{path} includes {name}: {top}/ may not")
    return wrong if seen else ["nothing beside src/ includes any of it"]


def functions(text):
    """(name, lines) for each function of a file laid out by clang-format."""
    lines = without_comments(text).split("\n")
    begin = None
    for i, line in enumerate(lines):
        if line == "{":
            begin = i
        elif line == "}" and begin is not None:
            head = begin - 1
            while head > 0 and lines[head - 1].strip() and not lines[head - 1].startswith(("}", "#")):
                head -= 1
            name = re.search(r"(\w+)\s*\(", " ".join(lines[head:begin]))
            yield name[1] if name else "?", i - head + 1
            begin = None


def lengths(house):
    """No file, header or function is too long."""
    wrong, seen = [], 0
    for path in house.files:
        text = house.read(path)
        count = text.count("\n")
        most = HEADER_MAX if path.endswith(".h") and path.startswith("src/") else FILE_MAX
        if count > most:
            wrong.append(f"{path} has {count} lines, over {most}")
        for name, length in functions(text):
            seen += 1
            if length > FUNCTION_MAX:
                wrong.append(f"{path}: {name} has {length} lines, over {FUNCTION_MAX}")
    return wrong if seen else ["there are no functions"]


ALL = [drawing, downwards, defined_below, no_circle, beside, lengths]
