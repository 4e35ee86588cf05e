#!/usr/bin/env bash
# Tries a server by what its /docs.json says: no status 5xx, no status, media type or header that is not documented, bodies
# as their schemas have them, and refusals of what the schemas do not allow.
#
#     check.sh URL [OPTION OF SCHEMATHESIS...]
#
# Needs schemathesis, of requirements.txt: `st` on the path, or $SCHEMATHESIS.
set -euo pipefail
url=${1%/}
shift
cd "$(dirname "${BASH_SOURCE[0]}")"
# What it keeps goes with it.
HYPOTHESIS_STORAGE_DIRECTORY=$(mktemp -d)
trap 'rm -rf "$HYPOTHESIS_STORAGE_DIRECTORY"' EXIT
export HYPOTHESIS_STORAGE_DIRECTORY PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1
"${SCHEMATHESIS:-st}" --config-file schemathesis.toml run "$url/docs.json" --max-examples 100 "$@"
