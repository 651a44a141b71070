#!/usr/bin/env bash
# Detects the face in every video below a folder and draws its sketches:
#
#     examples/pipelines/batch-sketches.sh VIDEOS OUT [extract-sketch options, such as --jobs 4...]
#
# Makes OUT/clips/NAME.clip, OUT/report.ndjson with one line per video, and OUT/clips.txt with the paths of the finished clips, ready for
# `fsv2v build-dataset - -o faces < OUT/clips.txt`. Names may contain spaces and line breaks. Run it again after a crash: finished videos are
# skipped. The exit code is that of extract-sketch: 0, or 3 if some videos failed.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
videos=$1 out=$2
shift 2
mkdir -p -- "$out"

code=0
find "$videos" -type f \( -iname '*.mp4' -o -iname '*.mov' -o -iname '*.mkv' -o -iname '*.webm' -o -iname '*.avi' -o -iname '*.mpg' \) -print0 |
    sort -z |
    fsv2v extract-sketch - --null --out "$out/clips" --json "$@" >"$out/report.ndjson" || code=$?

count() { grep -c "\"status\": \"$1\"" "$out/report.ndjson" || true; }
find "$out/clips" -maxdepth 1 -name '*.clip' -exec test -e '{}/sketch/layer.json' \; -print 2>/dev/null | sort >"$out/clips.txt" || true
echo "$(count done) done, $(count skipped) skipped, $(count failed) failed: $out/report.ndjson" >&2
exit "$code"
