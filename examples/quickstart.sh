#!/usr/bin/env bash
# The main job on a fresh machine: sets up .venv, then animates a public-domain portrait by the drawn driving clip, with the weights
# that are shipped. After the set-up no network is needed. Arguments: [PICTURE [DRIVING [OUT.mp4]]], all optional.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/examples/setup-venv.sh"
setup_venv

picture="${1:-$root/examples/astronaut.png}"
driving="${2:-$root/examples/driving.clip}"
out="${3:-out/quickstart.mp4}"
preview="${out%.*}-preview.png"
mkdir -p "$(dirname -- "$out")"

fsv2v synthesize --examples "$picture" --driving "$driving" -o "$out" --backend dlib > /dev/null
fsv2v clip preview "$out" -o "$preview" > /dev/null

echo "video:   $out"
echo "preview: $preview"
