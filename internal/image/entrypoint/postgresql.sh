#!/bin/sh
# Starts PostgreSQL. An empty volume gets its database first; until that is
# complete nothing listens. Arguments are handed on to postgres.
#
#   PGDATA             folder of the database: one below the volume, not its root
#   POSTGRES_USER      the superuser; its password is set at every start
#   POSTGRES_PASSWORD  that password, or POSTGRES_PASSWORD_FILE, a file with it
#   POSTGRES_DB        the database made on an empty volume
set -eu

die() {
	echo "postgresql: $*" >&2
	exit 1
}

# single runs SQL, one statement a line, in a server without a network.
single() {
	postgres --single -D "$1" -c exit_on_error=true -c log_statement=none -c log_min_error_statement=panic postgres >/dev/null
}

literal() { printf '%s' "$1" | sed "s/'/''/g"; }
name() { printf '%s' "$1" | sed 's/"/""/g'; }

create() {
	fresh=$PGDATA.unfinished
	rm -rf "$fresh"
	mkdir -p "$(dirname "$PGDATA")" || die "cannot write to the folder of PGDATA=$PGDATA; is the volume writable for user $(id -u)?"
	[ ! -d "$PGDATA" ] || rmdir "$PGDATA" || die "PGDATA=$PGDATA is the root of a volume; name a folder below it"
	secret=$(mktemp)
	printf '%s\n' "$password" >"$secret"
	initdb -D "$fresh" -U "$POSTGRES_USER" --pwfile="$secret" --auth=scram-sha-256 \
		--encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions
	rm -f "$secret"
	echo 'host all all all scram-sha-256' >>"$fresh/pg_hba.conf"
	[ "$POSTGRES_DB" = postgres ] || echo "CREATE DATABASE \"$(name "$POSTGRES_DB")\"" | single "$fresh"
	mv "$fresh" "$PGDATA"
	sync -f "$(dirname "$PGDATA")"
}

[ "$(id -u)" != 0 ] || die "PostgreSQL does not run as root; set runAsUser"
: "${PGDATA:?name the folder of the database}" "${POSTGRES_USER:?name the superuser}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
	POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") || die "cannot read POSTGRES_PASSWORD_FILE=$POSTGRES_PASSWORD_FILE"
fi
password=${POSTGRES_PASSWORD:-}
unset POSTGRES_PASSWORD
[ -n "$password" ] || die "the password of $POSTGRES_USER is empty; set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
[ "$(printf '%s\n' "$password" | wc -l)" = 1 ] || die "the password of $POSTGRES_USER has more than one line"

if [ -e "$PGDATA/PG_VERSION" ]; then
	made=$(cat "$PGDATA/PG_VERSION")
	[ "$made" = "$PG_MAJOR" ] || die "the database in $PGDATA was made by PostgreSQL $made, this is $PG_MAJOR; dump it there and load it here"
	# As process 1 this script is the first of its container: a lock file was left
	# by a server that was killed with an earlier one, and its number is now ours.
	[ $$ != 1 ] || rm -f "$PGDATA/postmaster.pid"
	echo "ALTER ROLE \"$(name "$POSTGRES_USER")\" PASSWORD '$(literal "$password")'" | single "$PGDATA"
elif [ -d "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ]; then
	die "$PGDATA holds files but no database; move them away, nothing was touched"
else
	create
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' "$@"
