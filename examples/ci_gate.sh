#!/usr/bin/env bash
# A gate for a CI job: fails if the network costs more than its budget, or more than it did.
#
#     examples/ci_gate.sh MODEL MAX_DC [BASELINE.json]
#     examples/ci_gate.sh fsnn_digits 10uJ
#
# MODEL is a bundled network or my_package.my_module:build_model; weights and data are given to
# `syops run` below. It exits with 0 if all is well, with 1 if not, and with 2 if that cannot be told.
set -euo pipefail
model=$1 limit=$2 baseline=${3:-}
syops=(${SYOPS:-syops})

report=$(mktemp -d)/report.json
trap 'rm -rf "$(dirname "$report")"' EXIT

"${syops[@]}" run "$model" --format json -o "$report"
"${syops[@]}" check "$report" --max-dc "$limit" --full-spike
if [ -n "$baseline" ]; then
    "${syops[@]}" check "$report" --baseline "$baseline" --tolerance 1%
fi
