#!/usr/bin/env bash
# scripts/site.sh OUT [REFERENCE]: makes one static site in OUT: README.md and the pages of docs/ by
# mkdocs, and the reference that Doxygen made in REFERENCE. A link to nowhere is a
# failure. Nothing in it is fetched when it is read.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"
out=$(cd "$1" && pwd)
reference=${2:-}
command -v mkdocs >/dev/null || { echo "docs: no mkdocs (scripts/setup.sh docs)" >&2; exit 1; }
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

mkdir "$stage/pages"
cp -r README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md LICENSE docs include examples "$stage/pages"
# What pages link to beside pages: folders have a list of their files.
{
    echo "# Examples"
    echo
    for file in examples/*.c; do echo "- [$(basename "$file")](examples/$(basename "$file"))"; done
} >"$stage/pages/examples.md"
sed -i.bak 's|](examples)|](examples.md)|' "$stage/pages"/*.md
rm -f "$stage/pages"/*.bak
rm -f "$stage/pages/docs/Doxyfile.in"
if [ -n "$reference" ]; then
    cp -r "$reference" "$stage/pages/reference"
fi
cat >"$stage/mkdocs.yml" <<YML
site_name: Ferry
docs_dir: pages
site_dir: site
use_directory_urls: false
theme:
  name: null
  custom_dir: $PWD/scripts/site
markdown_extensions:
  - tables
  - fenced_code
plugins: []
nav:
  - Ferry: README.md
  - Using it:
    - Paths: docs/transfers.md
    - Scattered blocks: docs/blocks.md
    - Order and threads: docs/order.md
    - Ownership: docs/ownership.md
    - Sharing memory: docs/sharing.md
    - Errors: docs/errors.md
    - Environment variables: docs/environment.md
    - Metrics: docs/metrics.md
    - Streams: docs/streams.md
    - The wire: docs/wire.md
    - Tracing: docs/tracing.md
    - Models: docs/models.md
    - C++: docs/cpp.md
    - Python: docs/python.md
    - DLPack: docs/dlpack.md
    - Triton: docs/triton.md
    - JSON of the command: docs/json.md
    - Packages: docs/packages.md
$([ -z "$reference" ] || echo "    - Reference: reference/index.html")
  - Benchmarks:
    - How it is measured: docs/benchmarks.md
$(for page in docs/benchmarks/*/README.md; do
    echo "    - $(basename "$(dirname "$page")"): $page"
done)
  - Devices:
$(for name in vulkan metal cuda host-driver drivers; do
    [ ! -e "docs/$name.md" ] || echo "    - $name: docs/$name.md"
done)
  - Project:
    - Changes: CHANGELOG.md
    - Contributing: CONTRIBUTING.md
    - Security: SECURITY.md
YML
(cd "$stage" && mkdocs --quiet build --strict)
rm -f "$stage/site/sitemap.xml" "$stage/site/sitemap.xml.gz"
python3 scripts/check_site.py "$stage/site"
rm -rf "${out:?}"/*
cp -r "$stage/site/." "$out"
echo "$out/index.html"
