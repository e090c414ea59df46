"""The checks. Each takes a Tree and the programs it needs, and returns what is wrong, in words; a
check that finds nothing to look at says so."""

import os
import re
import subprocess
import tempfile

from tree import blocks, codes, indented, prose


def _anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def links(tree, programs):
    """Every link leads to a file, or a heading, that is there; every page can be reached."""
    wrong, reached = [], set()
    for page in tree.pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(tree.read(page))):
            if re.match(r"https?:", link):
                continue
            name, _, anchor = link.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page), name)) if name else page
            if not tree.exists(path):
                wrong.append(f"{page}: {link} is not there")
            elif anchor and anchor not in map(_anchor, re.findall(r"^#+ (.*)$", tree.read(path),
                                                                  re.M)):
                wrong.append(f"{page}: {link}: there is no such heading")
            elif page != path:
                reached.add(path)
    return wrong + [f"no page has a link to {page}" for page in tree.pages
                    if page not in reached and page != "README.md"]


def quotes(tree, programs):
    """A block after <!-- FILE --> is a part of that file; every example is on a page."""
    wrong, quoted = [], set()
    for block in blocks(tree):
        if block.comment is None or not tree.exists(block.comment):
            continue
        quoted.add(block.comment)
        if "\n" + block.text not in "\n" + tree.read(block.comment):
            wrong.append(f"{block.where}: is not a part of {block.comment}")
    named = quoted | {code for _, code in codes(tree)}
    return wrong + [f"no page shows {path}" for path in tree.files
                    if re.fullmatch(r"examples/\w+\.c", path) and path not in named]


_COMPILED = {"c": ["-std=gnu11", "-x", "c"], "cpp": ["-std=c++17", "-x", "c++"]}


def snippets(tree, programs):
    """C and C++ that is not quoted compiles without a warning; scripts are well formed. Python's
    run in bindings/python/tests. No block goes without a language, but for what is drawn or
    printed, which says so: <!-- printed -->."""
    wrong = []
    for block in blocks(tree):
        quoted = block.comment is not None and tree.exists(block.comment)
        if block.language in _COMPILED and not quoted:
            wrong += _compile(tree, programs, block)
        elif block.language == "sh":
            done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
            wrong += [f"{block.where}: {done.stderr}"] if done.returncode else []
        elif block.language == "" and block.comment != "printed":
            wrong.append(f"{block.where}: a block without a language")
        elif block.language not in ("", "c", "cpp", "python", "cmake"):
            wrong.append(f"{block.where}: nobody checks a block of {block.language}")
    return wrong


def _compile(tree, programs, block):
    compiler = programs["cc" if block.language == "c" else "cxx"]
    headers = [] if "#include" in block.text else ["ferry.h", "metal.h"]
    text = "".join(f"#include <ferry/{header}>\n" for header in headers)
    if block.language == "cpp" and "<vector>" not in block.text:
        text += "#include <vector>\n"
    done = subprocess.run(
        [compiler, *_COMPILED[block.language], "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
         "-Wno-unused-function", "-I", os.path.join(tree.root, "include"), "-"],
        input=text + block.text, capture_output=True, text=True)
    return [f"{block.where}: {done.stderr}"] if done.returncode else []


def _help(programs, *words):
    return subprocess.run([programs["ferry"], *words, "--help"], capture_output=True,
                          text=True).stdout


def _lines(tree):
    """(where, line) for each line that a reader may type."""
    lines = [(page, code) for page, code in codes(tree)]
    for page in tree.pages:
        lines += [(page, line) for line in indented(tree.read(page))]
    for block in blocks(tree):
        lines += [(block.where, line) for line in block.text.splitlines()]
    return [(where, re.sub(r"^(\w+=\S*\s+)+", "", line.strip())) for where, line in lines]


def commands(tree, programs):
    """Commands and options of ferry, make's targets, presets, CMake's options and targets."""
    known = re.findall(r"^  ferry ([a-z]+) ", _help(programs), re.M)
    options = {command: set(re.findall(r"^  (--[a-z-]+)", _help(programs, command), re.M))
               for command in known}
    targets = set(re.findall(r"^([a-z-]+):", tree.read("Makefile"), re.M))
    build = "\n".join([tree.read(path) for path in tree.files if path.endswith(
        ("CMakeLists.txt", ".cmake", "CMakePresets.json"))] + list(_others(tree)))
    wrong, seen = [], set()
    for where, line in _lines(tree):
        for command, rest in re.findall(r"(?:^|[|&] *|/)ferry ([a-z]+)\b([^|&>(]*)", line):
            seen.add(command)
            if command not in known:
                wrong.append(f"{where}: there is no ferry {command}")
            for option in re.findall(r"--[a-z-]+", rest):
                if option not in options.get(command, set()) | {"--help"}:
                    wrong.append(f"{where}: ferry {command} has no {option}")
        for target in re.findall(r"(?:^|&& )make ([a-z-]+)", line):
            if target not in targets:
                wrong.append(f"{where}: there is no make {target}")
        names = re.findall(r"--preset (\S+)|--target (\w+)|-D([A-Z_]+)=", line)
        for name in (name for group in names for name in group if name):
            if not re.search(rf"\b{re.escape(name)}\b", build):
                wrong.append(f"{where}: the build knows no {name}")
    return wrong + [f"no page tells of ferry {command}" for command in known
                    if command not in seen]


_WORD = re.compile(r"\\?[A-Za-z_][A-Za-z0-9_]*(?:\.{3})?")


def _others(tree):
    """words.txt: names that belong to others, or that only the build makes."""
    return set(re.sub(r"#.*", "", tree.read("tests/docs/words.txt")).split())


def words(tree, programs):
    """Every `code` word stands in the tree outside of the pages, or belongs to others. A word that
    ends in _ or ... stands for several, one that begins with _ for the end of one."""
    own = "\n".join(tree.read(path) for path in tree.files
                    if path not in tree.pages and not path.startswith(("docs/", "tests/docs/")))
    known = set(_WORD.findall(own)) | {name for path in tree.files
                                       for name in _WORD.findall(path)}
    known |= set(_WORD.findall(_metrics_table(tree))) | _others(tree)
    beginnings = {name[:i] for name in known for i in range(3, len(name))}
    ends = {name[i:] for name in known for i in range(1, len(name)) if name[i] == "_"}
    wrong, seen = [], 0
    for page, code in codes(tree):
        for word in _WORD.findall(re.sub(r"-D(?=[A-Z])", "-", code)):
            seen += 1
            stem = word.rstrip(".").lstrip("\\")
            if stem in known or stem in ends or (
                    word.endswith(("_", "...")) and stem in beginnings):
                continue
            wrong.append(f"{page}: `{code}`: nothing in the tree is called {stem} (if it is not "
                         "ours: tests/docs/words.txt)")
    return wrong if seen else ["no page has `code`"]


def paths(tree, programs):
    """Every `folder/file` is there; what the build makes is in build/ or has a place in capitals.
    """
    wrong, seen = [], 0
    for page, code in codes(tree):
        if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", code) or "/" not in code:
            continue
        seen += 1
        path = code.rstrip("/")
        pattern = re.escape(path).replace(r"\*", "[^/]*")
        found = any(re.match(rf"(?:.*/)?{pattern}(?:/|$)", file)
                    for file in tree.files + ["include/" + f for f in tree.files])
        if not found and not path.startswith(("build", "dist")) and path not in _others(tree):
            wrong.append(f"{page}: `{code}` is not there")
    return wrong if seen else ["no page names a file"]


def statuses(tree, programs):
    """errors.md has a row for each error there is, and for no other."""
    listed = set(re.findall(r"FERRY_STATUS\(\d+, ERROR_(\w+)", tree.read("include/ferry/status.inc")))
    told = set(re.findall(r"^\| `(\w+)` \|", tree.read("docs/errors.md"), re.M))
    return _differ("docs/errors.md", listed, told, "status")


def _metrics_table(tree):
    with tempfile.NamedTemporaryFile("w", suffix=".inc") as file:
        file.write(tree.read("include/ferry/stats.inc"))
        file.flush()
        return subprocess.run(["awk", "-f", os.path.join(tree.root, "scripts/metrics_table.awk"),
                               file.name], capture_output=True, text=True).stdout


def metrics(tree, programs):
    """metrics.md has the table that is made of stats.inc."""
    made = _metrics_table(tree)
    page = tree.read("docs/metrics.md")
    written = page.partition("<!-- begin -->\n")[2].partition("<!-- end -->")[0]
    return [] if made and made == written else ["docs/metrics.md: not the table of stats.inc"]


def _environment_table(tree, *options):
    with tempfile.NamedTemporaryFile("w", suffix=".inc") as file:
        file.write(tree.read("include/ferry/environment.inc"))
        file.flush()
        return subprocess.run(
            ["awk", *options, "-f", os.path.join(tree.root, "scripts/environment_table.awk"),
             file.name], capture_output=True, text=True).stdout


def environment(tree, programs):
    """The list of variables has what is read, and no other; environment.md and
    ferry-environment(7) have the tables that are made of it."""
    sources = tree.text("src/", "drivers/", "models/", "cli/", "triton/",
                        "bindings/python/ferry/")
    read = set(re.findall(r'"(FERRY_[A-Z_]+)"', sources)) - set(
        re.findall(r'"(FERRY_(?:ERROR_\w+|OK|PENDING))"', sources))
    listed = set(re.findall(r'^FERRY_VARIABLE\("(\w+)"', tree.read("include/ferry/environment.inc"),
                            re.M))
    wrong = _differ("include/ferry/environment.inc", read, listed, "environment variable")
    for page, begin, end, made in [
            ("docs/environment.md", "<!-- begin -->\n", "<!-- end -->", _environment_table(tree)),
            ("man/ferry-environment.7", '.\\" begin\n', '.\\" end',
             _environment_table(tree, "-v", "man=1"))]:
        written = tree.read(page).partition(begin)[2].partition(end)[0]
        if not made or made != written:
            wrong.append(f"{page}: not the table of environment.inc")
    return wrong


_READS_ENVIRONMENT = r"\b(?:secure_getenv|getenv|environ)\b"


def secure(tree, programs):
    """What we ship asks for the environment by ferry__env, which a setuid program gets nothing of.
    """
    ours = [path for path in tree.files if re.match(
        r"(src|common|drivers|models|triton|wire|cli|bench)/.*\.[ch]$", path)]
    asks = [path for path in ours if re.search(_READS_ENVIRONMENT, tree.read(path))]
    return [f"{path}: reads the environment without ferry__env (common/env.h)" for path in asks
            if not re.fullmatch(r"(?:src/base|common)/env\w*\.[ch]", path)] + (
        [] if asks else ["nobody reads the environment"])


def knobs(tree, programs):
    """host-driver.md has a row for each knob, and for no other."""
    rows = tree.read("drivers/host/knobs.c").partition("rows[] = {")[2].partition("};")[0]
    told = re.findall(r"^\| ((?:`\w+(?:=N)?`(?:, )?)+) \|", tree.read("docs/host-driver.md"), re.M)
    told = {name for cell in told for name in re.findall(r"`(\w+)", cell)}
    return _differ("docs/host-driver.md", set(re.findall(r'\{"(\w+)"', rows)), told, "knob")


def folders(tree, programs):
    """CONTRIBUTING tells of every folder with sources, and of every package that setup.sh installs.
    """
    page = tree.read("CONTRIBUTING.md")
    there = {path.split("/")[0] for path in tree.files if "/" in path and path[0] != "."}
    told = {name.split("/")[0] for cell in re.findall(r"^\| (`.*?/`.*?) \|", page, re.M)
            for name in re.findall(r"`([\w/]+/)`", cell)}
    packages = " ".join(re.findall(r'^debian_\w+="(.*?)"', tree.read("scripts/setup.sh"),
                                   re.M | re.S)).split()
    return _differ("CONTRIBUTING.md", there, told, "folder") + [
        f"CONTRIBUTING.md: nothing about the package {name}" for name in packages
        if f"`{name}`" not in page]


def messages(tree, programs):
    """The message that errors.md shows is what the library says."""
    code = ("import ferry\nd = ferry.Device('host')\nb = d.buffer(4096, label='weights')\n"
            "try: b.copy_from_host(bytes(4097), 12)\nexcept ferry.Error as e: print(e)\nd.close()")
    done = subprocess.run([programs["python"], "-c", code], capture_output=True, text=True,
                          env={**os.environ, "FERRY_LIBRARY": programs["library"],
                               "PYTHONPATH": os.path.join(tree.root, "bindings/python"),
                               "PYTHONDONTWRITEBYTECODE": "1"})
    shown = [block.text for block in blocks(tree) if block.where.startswith("docs/errors.md")]
    return [] if shown == [done.stdout] else [f"docs/errors.md shows {shown}, the library says "
                                              f"{done.stdout!r} {done.stderr}"]


def rules(tree, programs):
    """engine.md has each rule that the sources, the tests or the pages cite."""
    told = set(re.findall(r"^- \*\*(R\d+a?) ", tree.read("docs/engine.md"), re.M))
    cited = {rule: path for path in tree.files
             if path.startswith(("src/", "drivers/", "tests/")) and path.endswith((".c", ".h"))
             for rule in re.findall(r"\bR\d+a?\b", tree.read(path))}
    return [f"docs/engine.md: nothing about {rule}, which {path} cites"
            for rule, path in sorted(cited.items()) if rule not in told] if cited else [
                "nothing cites a rule"]


def _section(page, heading):
    return re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def _code(text):
    """Without comments and strings."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.S)


def locks(tree, programs):
    """engine.md's table has each file of src/ that has a lock, and no other."""
    there = {path for path in tree.files if re.match(r"src/.*\.[ch]$", path) and re.search(
        r"^\s*(?:static )?pthread_mutex_t \w+( =.*)?;", _code(tree.read(path)), re.M)}
    told = set(re.findall(r"`(src/[\w/]+\.[ch])`",
                          _section(tree.read("docs/engine.md"), "Locks")))
    return _differ("docs/engine.md", there, told - {"src/base/lock_record.h"}, "lock of")


_STATIC = re.compile(r"^ *(?:static|_Thread_local|static _Thread_local) (?!inline)([^()=;{]*?)"
                     r"\w+(?:\[[^=;]*\])*(?: =|;)|^static (?!const)[^;()=]*\{\n(?: [^\n]*\n)*\} \w",
                     re.M)


def global_state(tree, programs):
    """engine.md's table has each file with a variable that outlives a call, and no other."""
    there = set()
    for path in tree.files:
        if re.match(r"(src|models|common|drivers)/.*\.[ch]$", path):
            for match in _STATIC.finditer(_code(tree.read(path))):
                if "const" not in (match[1] or "").rpartition("*")[2]:
                    there.add(path)
    told = set(re.findall(r"`((?:src|models|common|drivers)/[\w/]+\.[ch])`",
                          _section(tree.read("docs/engine.md"), "Globals")))
    return _differ("docs/engine.md", there, told, "global of")


def _flat(text):
    """Without the comments' stars and line ends; in small letters, since quotations begin anywhere."""
    return re.sub(r"\s+", " ", re.sub(r"\n\s*\*\s?", " ", text)).lower()


def promises(tree, programs):
    """What tests/promises quotes stands in ferry.h. [...] is left out; a field's name and a colon may
    come first."""
    header, wrong, seen = _flat(tree.read("include/ferry/ferry.h")), [], 0
    for path in tree.files:
        if not re.fullmatch(r"tests/promises/\w+\.c", path):
            continue
        for comment in re.findall(r"/\*(.*?)\*/", tree.read(path), re.S):
            for quoted in re.findall(r'"([^"]+)"', _flat("\n * " + comment)):
                for part in quoted.split("[...]"):
                    part = re.sub(r"^\w+: ", "", part.strip()).strip(" .,;")
                    seen += 1
                    if part not in header:
                        wrong.append(f"{path}: ferry.h does not say: {part}")
    return wrong if seen else ["nothing is quoted"]


def _differ(page, there, told, what):
    wrong = [f"{page}: nothing about the {what} {name}" for name in sorted(there - told)]
    wrong += [f"{page}: there is no {what} {name}" for name in sorted(told - there)]
    return wrong if there else [f"no {what} was found"]


ALL = [links, quotes, snippets, commands, words, paths, statuses, metrics, environment, secure,
       knobs, folders, rules, locks, global_state, promises, messages]
