#!/usr/bin/env bash
# Animates every image of a folder with one driving clip or video:
#
#     examples/pipelines/animate-folder.sh IMAGES DRIVING OUT [synthesize options...]
#
# IMAGES/anna.jpg becomes OUT/anna.mp4. If an image fails, its name is printed and the others continue; run it again to make the missing videos.
# The exit code is 3 if any image failed. A problem that all images share ends the script at once, with its code (2 usage, 4 something is missing).
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
images=$1 driving=$2 out=$3
shift 3
mkdir -p -- "$out"

failed=0
while IFS= read -r -d '' image; do
    name=$(basename -- "${image%.*}")
    code=0
    fsv2v synthesize --examples "$image" --driving "$driving" -o "$out/$name.mp4" "$@" </dev/null || code=$?
    case $code in
        0) ;;
        3 | 5) failed=$((failed + 1)) ;;
        *) exit "$code" ;;
    esac
done < <(find "$images" -maxdepth 1 -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.webp' \) -print0 | sort -z)

if [ "$failed" -gt 0 ]; then
    echo "$failed images could not be animated" >&2
    exit 3
fi
