#!/bin/sh
# Run once by the postgres image, on an empty volume: MLflow gets a user and a database of its own, so that
# whoever gets hold of MLflow's password cannot read or change the laboratory's records.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=password="$MLFLOW_DATABASE_PASSWORD" --set=laboratory="$POSTGRES_DB" <<'SQL'
CREATE ROLE mlflow LOGIN PASSWORD :'password';
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;
REVOKE CONNECT ON DATABASE :"laboratory" FROM PUBLIC;
SQL
