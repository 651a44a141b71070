#!/usr/bin/env bash
# A first result on a new machine: sets up .venv, animates a public-domain portrait with the drawn driving clip and the shipped weights, and
# prints the paths of the video (sketch and result side by side) and of its preview image. Only the set-up needs an internet connection.
# Optional arguments: IMAGE DRIVING OUT.mp4
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/examples/setup-venv.sh"
setup_venv

image="${1:-$root/examples/astronaut.png}"
driving="${2:-$root/examples/driving.clip}"
out="${3:-$root/out/quickstart.mp4}"
mkdir -p "$(dirname -- "$out")"

fsv2v synthesize --examples "$image" --driving "$driving" -o "$out" --backend dlib --compare
fsv2v clip preview "$out" -o "$(dirname -- "$out")" --no-video --height 160
