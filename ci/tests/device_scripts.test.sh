#!/usr/bin/env bash
# What stands around a device, without one: the fake driver of impls/tests in the real one's place, and a stand-in for
# compute-sanitizer. usage: device_scripts.test.sh SOURCE BUILD
# shellcheck disable=SC2317 # what expect calls
set -uo pipefail
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect NAME STATUS TEXT COMMAND...: its exit status, and text in what it says. NAME: the wrong rewrite that it catches.
expect() {
  local name=$1 status=$2 text=$3 code=0
  shift 3
  "$@" >"$work/said" 2>&1 || code=$?
  if [ "$code" -ne "$status" ] || ! grep -qF -- "$text" "$work/said"; then
    echo "FAILED $name: exit status $code, expected $status and '$text'; it says:"
    sed 's/^/    /' "$work/said"
    failures=$((failures + 1))
  fi
}
fake() { LD_LIBRARY_PATH=$build/lib/fake_cuda FAKE_CUDA=${broken:-} "$@"; }
no_driver() { LD_LIBRARY_PATH=$work/no_driver "$@"; }
mkdir "$work/no_driver" && echo 'not a library' >"$work/no_driver/libcuda.so.1"

mkdir "$work/tools" && cat >"$work/tools/compute-sanitizer" <<'END'
#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift 2; done
code=0
"$@" || code=$?
case ${FINDS:-} in
  errors) echo '========= ERROR SUMMARY: 2 errors' && exit 99 ;;
  silent) exit "$code" ;;
esac
echo '========= ERROR SUMMARY: 0 errors'
exit "$code"
END
chmod +x "$work/tools/compute-sanitizer"
sanitizer() {
  FINDS=$1 PATH=$work/tools:$PATH "$source/ci/device-sanitizer" "$2" --program "$build/bin/normproof" "${@:3}"
}
wrong=$build/lib/libnormproof_hostile_device.so

record=$source/ci/records/record.py
expect 'the record asks another driver than the worker' 0 'a device that is none' fake "$record" device
broken=no_device expect 'a driver without a device taken for one' 4 'cuInit: no CUDA-capable device' fake "$record" device
expect 'no driver taken for a device' 4 'no CUDA driver' no_driver "$record" device

expect 'a verdict taken for a finding of the tool' 0 'memcheck found nothing' fake sanitizer '' memcheck "$wrong"
expect 'a finding of the tool let through' 1 'found something' fake sanitizer errors racecheck "$wrong"
expect 'a tool that did not work taken for a clean run' 3 'without a summary' fake sanitizer silent initcheck "$wrong"
expect 'a run without a device taken for a clean one' 4 'nothing was verified' no_driver sanitizer '' memcheck "$wrong"
expect 'an unknown tool' 2 "unknown tool 'memchek'" sanitizer '' memchek

run() { "$source/ci/gpu-record" --build "$build" --out "$work/out" "$@"; }
expect 'a record without a device that ends well' 4 'no CUDA driver' no_driver run --step check --step bench
expect 'a step that was not run without its reason' 0 '"reason": "no CUDA driver' cat "$work/out/record.json"
expect 'a table that hides what was not run' 0 '(check) | not run: no CUDA driver' "$record" table "$work/out/record.json"
expect 'a step that never ends well' 0 'bench: done' fake run --step bench
expect 'a measurement that is lost on its way' 0 '"kernel": "copy"' cat "$work/out/record.json"
expect 'a device oracle that was not run without its reason' 0 '"kernel": "device_oracle"' cat "$work/out/record.json"
expect 'a device that the record does not name' 0 '### a device that is none' "$record" table "$work/out/record.json"
expect 'a step that ran counted for one that did not' 0 '"status": "run"' cat "$work/out/bench.json"
expect 'a dry run that measures' 0 'only tried as far as the device' fake run --step bench --dry-run
expect 'an unknown step' 2 "unknown step 'chek'" run --step chek
expect 'a number of minutes that is none' 2 "--minutes is 'soon'" run --minutes soon

# A record of the device oracle: its figures and its bits are shown.
mkdir "$work/oracle" && echo '{"status": "run", "seconds": 1}' >"$work/oracle/bench.json"
cat >"$work/oracle/bench-rows.jsonl" <<'END'
{"kernel": "copy", "gigabytes_per_second": 100.0}
{"kernel": "device_oracle", "pass": "forward-training", "dtype": "f32", "layout": "contiguous", "shape": "1x1", "mean": 0, "milliseconds": 2.0, "gigabytes_per_second": 60.0, "of_copy": 0.6, "doubtful": 1, "host_channels": 0, "compared_bytes": 1000, "differing_bytes": 3}
END
"$record" assemble "$work/oracle" >"$work/oracle.json"
expect 'a share of the copy that is not shown' 0 '| device_oracle | forward-training | f32 | contiguous | 2.000 | 60 | 0.60 |' \
  "$record" table "$work/oracle.json"
expect 'bits that differ and are not shown' 0 '3 of 1,000 bytes differ' "$record" table "$work/oracle.json"

[ $failures -eq 0 ] && echo 'all as expected'
exit $((failures > 0))
