#!/bin/sh
# First start of an empty Postgres: one database and one user per service, which has no rights on the others'.
# Passwords: /run/secrets/postgres_<service>_password, else POSTGRES_<SERVICE>_PASSWORD. Safe to run again:
# what is there stays, and each password becomes what the secret says (how they are changed).
set -eu

if [ -r "${POSTGRES_PASSWORD_FILE:-}" ]; then PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); else PGPASSWORD=${POSTGRES_PASSWORD:-}; fi
export PGPASSWORD # local connections may be asked for it

password_of() {
    file="/run/secrets/postgres_$1_password"
    if [ -r "$file" ]; then
        cat "$file"
    else
        printenv "POSTGRES_$(echo "$1" | tr '[:lower:]' '[:upper:]')_PASSWORD"
    fi
}

administer() {
    psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" "$@"
}

for service in auth billing payment provisioning notification chat; do
    password=$(password_of "$service")
    administer --dbname postgres --set name="$service" --set password="$password" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password' CONNECTION LIMIT 120;
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT ALL ON DATABASE :"name" TO :"name";
SQL
    administer --dbname "$service" --set name="$service" <<'SQL'
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO :"name";
SQL
done
administer --dbname postgres --command 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC' \
    --command 'REVOKE CONNECT ON DATABASE template1 FROM PUBLIC'
