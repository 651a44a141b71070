#!/usr/bin/env bash
# Animates every picture of a folder with one driving clip or video:
#
#     examples/pipelines/animate-folder.sh PICTURES DRIVING OUT [synthesize options...]
#
# PICTURES/anna.jpg becomes OUT/anna.mp4. A picture that fails is named and the others go on; run it again to make what is missing.
# Ends with 3 if any failed, and at once with the code of a problem that all of them would have (2 usage, 4 something is missing).
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
pictures=$1 driving=$2 out=$3
shift 3
mkdir -p -- "$out"

failed=0
while IFS= read -r -d '' picture; do
    name=$(basename -- "${picture%.*}")
    code=0
    fsv2v synthesize --examples "$picture" --driving "$driving" -o "$out/$name.mp4" "$@" </dev/null || code=$?
    case $code in
        0) ;;
        3 | 5) failed=$((failed + 1)) ;;
        *) exit "$code" ;;
    esac
done < <(find "$pictures" -maxdepth 1 -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.webp' \) -print0 | sort -z)

if [ "$failed" -gt 0 ]; then
    echo "$failed pictures could not be animated" >&2
    exit 3
fi
