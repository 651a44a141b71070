#!/usr/bin/env bash
# Animates one photograph by every video below a folder:
#
#     examples/pipelines/one-photograph.sh PHOTOGRAPH VIDEOS OUT [synthesize options, such as --jobs 4...]
#
# VIDEOS/talk.mov becomes OUT/videos/talk.mp4. The faces that are found in the videos are kept in OUT/clips, so that the next run does not look for
# them again. Run it again after a crash: finished videos are skipped. The exit code is 3 if some videos failed. With --preview it makes sheets of
# ten frames, OUT/videos/talk.preview.png.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
photograph=$1 videos=$2 out=$3
shift 3
mkdir -p -- "$out/clips"

failed=0
# Runs a command over many videos. Some of them may fail.
over_many() {
    local code=0
    "$@" || code=$?
    case $code in
        0) ;;
        3 | 5) failed=3 ;;
        *) exit "$code" ;;
    esac
}

over_many fsv2v extract-sketch --background none - --null --out "$out/clips" >/dev/null < <(
    find "$videos" -type f \( -iname '*.mp4' -o -iname '*.mov' -o -iname '*.mkv' -o -iname '*.webm' -o -iname '*.avi' -o -iname '*.mpg' \) -print0 |
        sort -z
)
over_many fsv2v synthesize --examples "$photograph" --driving "$out/clips" --out "$out/videos" "$@"
exit "$failed"
