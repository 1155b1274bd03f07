#!/bin/bash
# The image, built where no image registry answers, on a base by debootstrap, and the quick study in
# it. As root, with Debian's buildah and debootstrap; 25 GB in TMPDIR.
#   tests/cluster/image.sh [options of `buildah build` that a build needs here, such as --volume]
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
image() { buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver vfs "$@"; }
trap 'image rm --all >/dev/null; rm -rf --one-file-system "$folder"' EXIT

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder/base"
base=$(image from scratch)
image add --quiet "$base" "$folder/base" /
image commit --quiet --rm "$base" localhost/debian
rm -rf --one-file-system "$folder/base"
image build --isolation chroot --build-arg BASE=localhost/debian --file Containerfile --tag bnstudy "$@" .

container=$(image from bnstudy)
install -d -o 1000 "$folder/study"
image run --isolation chroot --volume "$folder/study:/study" "$container" -- \
    snakemake --cores all --snakefile /opt/bnstudy/Snakefile --configfile /opt/bnstudy/config/quick.yaml
test "$(wc -l < "$folder/study/results/tables/runs.csv")" -eq 13 # a heading and twelve runs
test -s "$folder/study/report/report.html"
echo "the quick study ran in the image"
