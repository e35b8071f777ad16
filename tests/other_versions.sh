#!/usr/bin/env bash
# Run the counting tests with the oldest torch that is supported and with the newest that was
# checked; .ci/run has one between them. Each environment takes about 6 GB while it is there.
#
# other_versions.sh [VERSION ...]: with these releases of torch instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

oldest=$(sed -n 's/^ *torch>=//p' setup.cfg).0
newest=2.14.1
[ $# -gt 0 ] || set -- "$oldest" "$newest"

for torch in "$@"; do
    # What is built against torch moves with it: torchvision 0.N+15 is for torch 2.N.
    IFS=. read -r _ minor patch <<<"$torch"
    echo "+ pip install torch==$torch"
    "${PYTHON:-python3}" -m venv "$work/venv"
    python="$work/venv/bin/python"
    "$python" -m pip install -qq "torch==$torch" "torchvision==0.$((minor + 15)).$patch" \
        "$(grep ^spikingjelly== constraints.txt)" ".[test]"
    "$python" -m pip uninstall -qq --yes syops # the tests are of the code here
    found=$("$python" -c 'import torch; print(torch.__version__.split("+")[0])')
    [ "$found" = "$torch" ] || {
        echo "torch $found was installed instead of $torch" >&2
        exit 1
    }
    echo "+ pytest, with torch $torch"
    CUDA_VISIBLE_DEVICES='' SYOPS_EXAMPLES=1 PYTHONPATH=$PWD "$python" -m pytest -m "not slow" \
        tests/ops tests/trace tests/properties tests/test_api.py tests/test_fold.py
    rm -rf "$work/venv"
done
