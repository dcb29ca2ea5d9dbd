#!/bin/sh
# Rebuild the hashed locks from pyproject.toml. torch and its CUDA parts stay outside (see README.md).
set -eu
cd "$(dirname "$0")/.."
compile() { uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 "$@" pyproject.toml; }
compile -o requirements/gateway.txt
uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 requirements/build.in -o requirements/build.txt
compile --extra local --constraint requirements/torch.txt -o requirements/local.all.txt
skip=$(grep -oE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z-]+)==' requirements/local.all.txt | sed 's/==//;s/^/--no-emit-package /' | sort -u | tr '\n' ' ')
rm requirements/local.all.txt
# shellcheck disable=SC2086
compile --extra local --constraint requirements/torch.txt $skip -o requirements/local.txt
# shellcheck disable=SC2086
compile --extra local --group dev --constraint requirements/torch.txt $skip -o requirements/dev.txt
# The vendors' code of `make conformance`, beside what the suite runs on. Two of their bounds are at odds with ours:
# google-genai wants an older tenacity, which serves us too; together's command line, unused here, an older rich.
loose=requirements/gateway.loose.txt rich=requirements/rich.txt
grep -E '^[A-Za-z0-9._-]+==' requirements/gateway.txt | sed 's/ *\\$//' | grep -v '^tenacity==' >$loose
grep '^rich==' $loose >$rich
compile --constraint $loose --override $rich requirements/conformance.in -o requirements/conformance.txt
rm $loose $rich
