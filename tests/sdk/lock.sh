#!/bin/sh
# Rebuild the locks of the SDK matrix, and what make conformance takes from npm (needs uv and npm).
set -eu
cd "$(dirname "$0")"
for lock in requirements/openai-*.txt; do
  version=${lock#requirements/openai-}
  echo "openai==${version%.txt}" |
    uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 - -o "$lock"
done
for folder in node/*/ ../conformance/node/; do
  # Without `resolved`, a lock fits every mirror; the integrity hashes stay.
  (cd "$folder" && npm install --package-lock-only --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved)
done
