#!/usr/bin/env bash
# MLflow behind accounts, on PostgreSQL and S3: the process of the image, of compose.yaml, of Kubernetes and of
# `make cluster`. All settings come from the environment; no secret stands on a command line.
#
#   MLFLOW_BACKEND_STORE_URI         postgresql+psycopg2://USER@HOST:PORT/DATABASE, and PGPASSWORD beside it
#   MLFLOW_ARTIFACTS_DESTINATION     s3://BUCKET/PREFIX; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, MLFLOW_S3_ENDPOINT_URL
#   MLFLOW_AUTH_ADMIN_PASSWORD       of the account `admin`, at the very first start; ignored afterwards
#   MLFLOW_FLASK_SERVER_SECRET_KEY   signs the sessions of browsers
#   MLFLOW_DEFAULT_PERMISSION        of everybody with an account, on what others made: READ, EDIT (ours) or NO_PERMISSIONS
#   MLFLOW_HOST, MLFLOW_PORT, MLFLOW_WORKERS, MLFLOW_SERVER_ALLOWED_HOSTS: MLflow's own
set -euo pipefail

: "${MLFLOW_BACKEND_STORE_URI:?is not set: where is the database?}"
: "${PGPASSWORD:?is not set: the password of the database}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?is not set: where do artifacts go?}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?is not set: the password of the account admin}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?is not set: a long random string}"
export MLFLOW_AUTH_ADMIN_USERNAME=${MLFLOW_AUTH_ADMIN_USERNAME:-admin}

# Accounts lie in the same database, so that one backup holds both. A password that was right is not looked at again
# for a minute: that takes 0.1 s of a processor, and MLflow would do it several times for every request. Where there are
# several workers, a password that was changed is good for so long with those that have not heard of it.
umask 077
accounts=$(mktemp "${TMPDIR:-/tmp}/mlflow-accounts.XXXXXX")
cat >"$accounts" <<INI
[mlflow]
default_permission = ${MLFLOW_DEFAULT_PERMISSION:-EDIT}
database_uri = $MLFLOW_BACKEND_STORE_URI
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
INI
export MLFLOW_AUTH_CONFIG_PATH=$accounts

export MLFLOW_DISABLE_TELEMETRY=${MLFLOW_DISABLE_TELEMETRY:-true}
# Jobs of MLflow's own serve language models; without them the server takes a third of the memory.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}
# What no rule of the accounts speaks of is refused.
export MLFLOW_BASIC_AUTH_FAIL_CLOSED=${MLFLOW_BASIC_AUTH_FAIL_CLOSED:-true}

exec mlflow server --app-name basic-auth --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}" \
  --workers "${MLFLOW_WORKERS:-1}"
