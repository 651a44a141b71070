#!/usr/bin/env bash
# Runs eight commands one after another on a video of a talking face, in a few minutes on two cores:
#
#     examples/pipelines/all-eight.sh VIDEO OUT [MODEL]
#
# Steps 1 to 3 detect the face, the body and the person. 4 makes a dataset of the head. 5 trains a tiny model on it, to show that training works.
# 6 adapts a full model (MODEL, or the shipped one) to a few frames. 7 synthesizes the video from those frames with both models. 8 compares
# the results with the video and prints a table. Run it again after a crash: finished steps are skipped.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
video=$1 out=$2
adapt=()
if [ $# -gt 2 ]; then
    adapt=(--model "$3")
fi
mkdir -p -- "$out"

step() { echo "== $*" >&2; }

step "1 extract-sketch"
clip=$(fsv2v extract-sketch "$video" -o "$out/clips/face.clip")
step "2 extract-poses"
fsv2v extract-poses "$clip" >&2
step "3 segment"
fsv2v segment --backend person "$clip" >&2
step "4 build-dataset"
fsv2v build-dataset "$clip" -o "$out/faces" >"$out/faces.txt"
read -r face <"$out/faces.txt" # the first shot

step "5 train"
tiny=$(fsv2v train --data "$out/faces" --preset tiny -o "$out/run")
step "6 finetune"
fsv2v finetune ${adapt[@]+"${adapt[@]}"} --examples "$face" --steps 20 -o "$out/tuned.safetensors" >&2

step "7 synthesize"
fsv2v synthesize --examples "$face" --driving "$face" --model "$tiny" -o "$out/tiny.mp4" >&2
fsv2v synthesize --examples "$face" --driving "$face" --model "$out/tuned.safetensors" -o "$out/tuned.mp4" >&2

step "8 evaluate"
fsv2v evaluate "$out/tiny.mp4" "$out/tuned.mp4" --reference "$face"
