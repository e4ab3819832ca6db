#!/usr/bin/env bash
# The first hour on an NVIDIA GPU, in the order of what is worth most; in the repository's root:
#
#   bash benchmarks/first_hour.sh [STAGE...]
#
# Stages: smoke parts times semantics tests sanitize bench auto profile. Without an argument the first
# five, which fit 9 minutes together. It needs no network: the machine has Python with CuPy and pytest, and
# whatever else fastnn needs travels as wheels (safetensors; say PYTHONPATH). Each stage writes what
# it found to $OUT, ends in its time, and does not end the others; the exit code is how many failed.
# REHEARSE=1 runs everything without a GPU, over the kernels on the CPU and on little data.
set -uo pipefail
[ -d fastnn/backends/cupy ] || { echo "run this in fastnn's repository root" >&2; exit 64; }
export OUT=${OUT:-$PWD/first_hour_out} REHEARSE=${REHEARSE:-}
mkdir -p "$OUT"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 PYTHONUTF8=1 MPLBACKEND=Agg
# Caches stay in the machine: what is in $OUT is fetched, and may be no more than 8 files.
caches=$(mktemp -d)
export CUPY_CACHE_DIR=${CUPY_CACHE_DIR:-$caches/cupy} NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$caches/numba}
unset OPENBLAS_CORETYPE
python=${PYTHON:-python3}
has() { $python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }
# bounded SECONDS COMMAND...: SIGINT first, so that pytest still writes its summary.
bounded() {
    local limit=$1 rc; shift
    timeout -s INT -k 15 "$limit" "$@"; rc=$?
    [ $rc = 124 ] && echo "### stopped after $limit s: $*"
    return $rc
}
fastnn_tests() {
    local limit=$1; shift
    local options=(-q -rfE --tb=short -p no:cacheprovider --continue-on-collection-errors)
    # The tests share the GPU, most of whose time goes to compiling CuPy's own kernels.
    has xdist && options+=(-n "${WORKERS:-12}" --dist worksteal -p no:benchmark)
    bounded "$limit" $python -m pytest "${options[@]}" "$@"
}

stage_smoke() {
    if [ -z "$REHEARSE" ]; then nvidia-smi; nvidia-smi -q -d CLOCK | head -30; fi
    bounded 120 $python -m benchmarks.first_hour smoke
}
stage_parts() { bounded 90 $python -m benchmarks.first_hour parts; }
stage_auto() { bounded 120 $python -m benchmarks.first_hour auto; }
stage_times() { bounded 120 $python -m benchmarks.first_hour times; }
stage_semantics() { bounded 120 $python -m benchmarks.first_hour semantics; }
stage_tests() {
    if [ -n "$REHEARSE" ]; then
        fastnn_tests 120 tests/test_cupy_backend.py -k "cpu and losses_may_lie_apart"
    else
        fastnn_tests 240 tests -m gpu
    fi
}
stage_sanitize() {
    local tool=${SANITIZER:-$(command -v compute-sanitizer || true)} failed=0 one
    if [ -n "$REHEARSE" ]; then bounded 120 $python -m benchmarks.first_hour shapes; return; fi
    [ -n "$tool" ] || { echo "there is no compute-sanitizer"; return 1; }
    bounded 60 $python -m benchmarks.first_hour shapes # compiles, so that the tools need not
    local pids=() # side by side: each is held up by its own processor
    for one in "150 9 memcheck --padding 512 --report-api-errors no" "150 4 racecheck --racecheck-report all" \
        "150 4 initcheck" "150 4 synccheck"; do
        set -- $one
        local limit=$1 count=$2 name=$3; shift 3
        SHAPES=$count bounded "$limit" "$tool" --tool "$name" --print-limit 30 --error-exitcode 9 "$@" \
            $python -m benchmarks.first_hour shapes > "$OUT/sanitize-$name.log" 2>&1 &
        pids+=($!)
    done
    for one in "${pids[@]}"; do wait "$one" || failed=1; done
    tail -n 6 "$OUT"/sanitize-*.log
    return $failed
}
stage_bench() {
    local quick=() failed=0
    [ -n "$REHEARSE" ] && quick=(--benchmark-disable)
    bounded 150 $python -m pytest -q -p no:cacheprovider benchmarks/test_gpu.py "${quick[@]}" \
        --results "$OUT/bench.json" || failed=1
    bounded 150 $python -m pytest -q -p no:cacheprovider benchmarks/peers/test_gpu.py "${quick[@]}" \
        --results "$OUT/bench-peers.json" || failed=1
    return $failed
}
stage_profile() {
    if [ -n "$REHEARSE" ]; then bounded 60 $python -m tests.nvrtc 90; return; fi
    command -v ncu > /dev/null || { echo "there is no ncu"; return 1; }
    SHAPES=1 bounded 200 ncu --clock-control none --section SpeedOfLight --section LaunchStats \
        --section Occupancy --section WarpStateStats -c 40 $python -m benchmarks.first_hour shapes
}

all="smoke parts times semantics tests sanitize bench auto profile"
[ $# -gt 0 ] || set -- smoke parts times semantics tests
[ "$*" = all ] && set -- $all
failed=0
for stage in "$@"; do
    case " $all " in *" $stage "*) ;; *) echo "no stage $stage; there are: $all" >&2; exit 64 ;; esac
    echo "### $(date -u +%H:%M:%S) $stage"
    "stage_$stage" 2>&1 | tee "$OUT/$stage.log" | tail -40
    if [ "${PIPESTATUS[0]}" != 0 ]; then failed=$((failed + 1)); echo "### $stage: something failed"; fi
done
rm -rf "$caches"
exit $failed
