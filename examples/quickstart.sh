#!/usr/bin/env bash
# The main job on a fresh machine: sets up .venv, then animates a public-domain portrait by the drawn driving clip, with the weights
# that are shipped, and prints where the video (sketch and result side by side) and its preview picture are. After the set-up no
# network is needed. Arguments, all optional: PICTURE DRIVING OUT.mp4
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/examples/setup-venv.sh"
setup_venv

picture="${1:-$root/examples/astronaut.png}"
driving="${2:-$root/examples/driving.clip}"
out="${3:-$root/out/quickstart.mp4}"
mkdir -p "$(dirname -- "$out")"

fsv2v synthesize --examples "$picture" --driving "$driving" -o "$out" --backend dlib --compare
fsv2v clip preview "$out" -o "$(dirname -- "$out")" --no-video --height 160
