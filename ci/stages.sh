# Sourced by the scripts of this folder: goes to the source tree and prints a header and a time per stage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=$(nproc)
stage_started=$SECONDS
stage_name=""
stages_passed=0
stages_failed=0

stage_end() {
  if [ -n "$stage_name" ]; then echo "-- $stage_name: $((SECONDS - stage_started)) s"; fi
  stage_name=""
}
stage() {
  stage_end
  stage_name=$1
  stage_started=$SECONDS
  echo "== $1"
}

# expect COMMAND...: runs it and counts it as one passed or failed check; the script goes on either way.
expect() {
  if "$@"; then
    stages_passed=$((stages_passed + 1))
  else
    echo "FAILED: $*"
    stages_failed=$((stages_failed + 1))
  fi
}

# A file that two presets compile alike (most of those of release and cuda) is compiled once.
if [ -z "${CMAKE_CXX_COMPILER_LAUNCHER:-}" ] && command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_DIR=$PWD/build/ccache CCACHE_MAXSIZE=5G
fi

# build PRESET TARGET...: configures and builds, printing the output only if it fails; no target means everything.
build() {
  local preset=$1 log="build/.build-$1.log"
  shift
  if cmake --preset "$preset" >"$log" 2>&1 && cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} >>"$log" 2>&1; then
    tail -n 1 "$log"
  else
    tail -n 100 "$log"
    return 1
  fi
}

# run_ctest PRESET ARGUMENT...: runs the test-suite of a build and adds its counts.
run_ctest() {
  local preset=$1 log="build/.ctest-$1.log" summary
  shift
  ctest --test-dir "build/$preset" --output-on-failure -j 2 "$@" 2>&1 | tee "$log" || true
  summary=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+' "$log" || true)
  if [[ $summary =~ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]]; then
    stages_failed=$((stages_failed + BASH_REMATCH[1]))
    stages_passed=$((stages_passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
  else
    echo "FAILED: ctest of $preset gave no summary"
    stages_failed=$((stages_failed + 1))
  fi
}

# The last line of a script, and its exit code.
finish() {
  stage_end
  echo "$stages_passed passed, $stages_failed failed"
  [ "$stages_failed" -eq 0 ]
}
mkdir -p build
