#!/bin/sh
# Packs what jobs/mp_small.yaml has trained into the models that come with omnimat, in 16 bits. Run it in
# the repository; the models that are there have to be removed before.
set -eu

here=$(dirname "$0")
shipped=$here/../../platform/omnimat/inference/shipped
mkdir -p "$shipped"
omnimat package mp-small --half --about "$here/about.md" --out "$shipped/mp-small"
omnimat package mp-small-moduli --half --about "$here/about-moduli.md" --out "$shipped/mp-small-moduli"
