#!/usr/bin/env bash
# Continues a video of a street beyond its end:
#
#     examples/pipelines/future.sh DRIVE OUT FUTURE_MODEL VIDEO_MODEL [FRAMES]
#
# DRIVE is a video, or a clip, which may have label maps already. FUTURE_MODEL was trained by `train --preset future-street` and VIDEO_MODEL by
# `train --preset vid2vid-street-512`, or their small presets, on the same labels. The script labels DRIVE, predicts FRAMES label maps (10),
# and turns them into OUT/future.mp4, whose first frame follows the last frame of DRIVE. Run it again after a crash: finished steps are skipped.
set -euo pipefail

if [ $# -lt 4 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
drive=$1 out=$2 future_model=$3 video_model=$4 frames=${5:-10}
mkdir -p -- "$out"

step() { echo "== $*" >&2; }

observed=$drive
if [ ! -f "$drive/segment/layer.json" ]; then
    step "1 segment"
    observed=$(fsv2v segment "$drive" -o "$out/observed.clip")
fi
step "2 predict"
fsv2v predict "$observed" --frames "$frames" --model "$future_model" -o "$out/future.clip" >&2
step "3 synthesize"
fsv2v synthesize --driving "$out/future.clip" --start "$observed" --model "$video_model" -o "$out/future.mp4"
