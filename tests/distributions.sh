#!/usr/bin/env bash
# Build the source distribution, and the wheel from it; install each in a fresh virtual environment
# as a user would, and run the demo there from an empty folder.
#
# distributions.sh [SITE]: SITE is a folder of installed packages. With it, the dependencies are
# not installed anew but taken from there, which saves a minute for each of the two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/build"
"$work/build/bin/pip" install -qq build
# Built from what git has: a file that nobody committed is not shipped either.
mkdir "$work/source"
git archive HEAD | tar -x -C "$work/source"
echo "+ python -m build"
"$work/build/bin/python" -m build --outdir "$work/dist" "$work/source" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}

for file in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
    echo "+ pip install -c constraints.txt ${file##*/} && syops demo"
    fresh="$work/fresh"
    "$python" -m venv "$fresh"
    own=$("$fresh/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    if [ $# -gt 0 ]; then
        echo "$1" >"$own/shared.pth"
        "$fresh/bin/pip" install -qq --no-deps "$file"
    else
        "$fresh/bin/pip" install -qq -c constraints.txt "$file"
    fi
    mkdir "$fresh/empty"
    cd "$fresh/empty"
    found=$(env -u PYTHONPATH "$fresh/bin/python" -c 'import syops; print(syops.__file__)')
    [ "$found" = "$own/syops/__init__.py" ] || {
        echo "not what was installed: $found" >&2
        exit 1
    }
    env -u PYTHONPATH "$fresh/bin/syops" demo
    cd "$OLDPWD"
    rm -r "$fresh"
done
