"""test_formula.py SOURCE: the formula that packaging/homebrew/formula.sh makes keeps to what Homebrew's
own audit asks of a formula, but for the home page, which there is not yet; and each check sees a fault
that is planted. Homebrew itself is asked where it is (docs/packages.md). Ends with 77 where the sources
are no git checkout."""

import hashlib
import os
import re
import subprocess
import sys

source = sys.argv[1]
if subprocess.run(["git", "-C", source, "rev-parse", "--git-dir"], capture_output=True).returncode:
    print("formula: no git checkout: nothing to make an archive of")
    sys.exit(77)
made = subprocess.run([os.path.join(source, "packaging/homebrew/formula.sh")], check=True,
                      capture_output=True, text=True).stdout.strip()
with open(made, encoding="utf-8") as file:
    formula = file.read()


def value(text, name):
    found = re.search(rf'^  {name} "([^"]*)"', text, re.M)
    return found[1] if found else ""


def name_of_class(text):
    file_name = os.path.basename(made).removesuffix(".rb")
    return f"class {file_name.capitalize()} < Formula\n" in text


def description(text):
    words = value(text, "desc")
    return (0 < len(words) <= 80 and words[0].isupper() and not words.endswith(".")
            and not re.match(r"(A|An|The|Ferry)\b", words))


def archive(text):
    path = value(text, "url").removeprefix("file://")
    if not os.path.exists(path):
        return False
    with open(path, "rb") as data:
        return hashlib.sha256(data.read()).hexdigest() == value(text, "sha256")


def version_in_the_address(text):
    return bool(re.search(r"-\d+\.\d+\.\d+\.tar\.gz$", value(text, "url")))


def licence(text):
    return value(text, "license") == "BSD-3-Clause" and os.path.exists(
        os.path.join(source, "LICENSE"))


def order(text):
    parts = re.findall(r"^  (desc|homepage|url|sha256|license|depends_on|def install|test do)\b", text,
                       re.M)
    wanted = ["desc", "homepage", "url", "sha256", "license", "depends_on", "def install", "test do"]
    return [wanted.index(part) for part in parts] == sorted(wanted.index(part) for part in parts) and (
        parts.count("def install") == parts.count("test do") == 1)


def dependencies(text):
    names = re.findall(r'^  depends_on "([^"]+)"', text, re.M)
    return len(names) > 0 and names == sorted(names) and "pkg-config" not in names


def layout(text):
    return not re.search(r"[ \t]$|\t|\n\n\n", text, re.M) and (
        max(map(len, text.split("\n"))) <= 118 and text.endswith("end\n"))


def own_flags(text):
    return "*std_cmake_args" in text and "ENV.cc" in text


def complete(text):
    return not re.search(r"@[A-Z0-9]+@", text)


CHECKS = {
    name_of_class: ("class Ferry", "class Fairy"), description: ('desc "', 'desc "A '),
    archive: ('sha256 "', 'sha256 "0'), version_in_the_address: (".tar.gz", ".tgz"),
    licence: ("BSD-3-Clause", "BSD"), order: ("  license", "  test do\n  license"),
    dependencies: ('"cmake"', '"zmake"'), layout: ("class Ferry < Formula", "class Ferry < Formula "),
    own_flags: ("*std_cmake_args", ""), complete: ('desc "', 'desc "@DESCRIPTION@'),
}
failed, count = [], 0
print("[==========] Running the formula's tests")
for check, (old, new) in CHECKS.items():
    for name, good in ((check.__name__, check(formula)),
                       (f"{check.__name__} sees a fault", old in formula and
                        not check(formula.replace(old, new, 1)))):
        count += 1
        print(f"[ {'      OK' if good else 'FAILED  '} ] {name}")
        failed += [] if good else [name]
print(f"[==========] {count} test(s) run.\n[  PASSED  ] {count - len(failed)} test(s).")
if failed:
    print(f"[  FAILED  ] {len(failed)} test(s), listed below:", *failed, sep="\n  ")
sys.exit(bool(failed))
