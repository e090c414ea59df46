#!/usr/bin/env bash
# make run: `ferry transfer` on FILE, or on a real model file that the package manager installed,
# on DEVICE, or on the best device.
set -eu
cd "$(dirname "$0")/.."

# tesseract's trained model of English, 4 MB: Debian's tesseract-ocr-eng, Homebrew's tesseract.
model_file() {
    if command -v dpkg >/dev/null; then
        dpkg -L tesseract-ocr-eng 2>/dev/null | grep '/eng\.traineddata$'
    elif command -v brew >/dev/null; then
        echo "$(brew --prefix tesseract)/share/tessdata/eng.traineddata"
    fi
}

file=${FILE-}
if [ -z "$file" ]; then
    file=$(model_file) || true
    if [ ! -r "$file" ]; then
        file=build/release/cli/ferry
        echo "run: the model file is not installed; moving $file itself" >&2
    fi
fi
exec build/release/cli/ferry transfer ${DEVICE:+--device "$DEVICE"} -- "$file"
