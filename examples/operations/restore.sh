#!/bin/sh
# Puts a copy made by backup.sh back. Stop the engine (and for Redis its server) first.
#
#   restore.sh file   store-….db   /var/lib/autofunnel/autofunnel.db
#   restore.sh redis  store-….rdb  /var/lib/redis  /etc/redis/redis.conf
#
# What was there is moved aside, not deleted.
set -eu
kind=${1:?file or redis}
copy=${2:?the copy}
target=${3:?the file, or the data folder of Redis}
aside=before-restore-$(date -u +%Y%m%dT%H%M%SZ)
umask 077

case $kind in
file)
    # The engine holds this lock as long as it lives.
    [ ! -e "$target.lock" ] || flock -n "$target.lock" true || {
        echo "restore.sh: an engine works on $target; stop it first" >&2
        exit 1
    }
    # The log beside the old file belongs to the old file: left in place it would be written into the copy.
    for old in "$target" "$target-wal" "$target-shm"; do
        [ ! -e "$old" ] || mv -- "$old" "$old.$aside"
    done
    cp -- "$copy" "$target"
    sync "$target"
    ;;
redis)
    conf=${4:?the redis.conf}
    [ ! -e "$target/appendonlydir" ] || mv -- "$target/appendonlydir" "$target/appendonlydir.$aside"
    [ ! -e "$target/dump.rdb" ] || mv -- "$target/dump.rdb" "$target/dump.rdb.$aside"
    cp -- "$copy" "$target/dump.rdb"
    # A Redis with an append-only file ignores a snapshot. So it is started without, reads the snapshot, and then
    # writes its append-only file from it. Nobody else reaches it: it listens on a socket in its folder only.
    socket=$target/restore.sock
    redis-server "$conf" --dir "$target" --appendonly no --dbfilename dump.rdb --port 0 --unixsocket "$socket" --daemonize yes \
        --pidfile "$target/restore.pid" --logfile "$target/restore.log" >/dev/null
    ask() { redis-cli -s "$socket" "$@"; }
    until ask ping 2>/dev/null | grep -q PONG; do sleep 0.2; done
    ask config set appendonly yes >/dev/null
    until ask info persistence | tr -d '\r' | grep -q '^aof_rewrite_in_progress:0' &&
        ask info persistence | tr -d '\r' | grep -q '^aof_rewrite_scheduled:0' &&
        [ -s "$target/appendonlydir/appendonly.aof.manifest" ]; do
        sleep 0.2
    done
    echo "restored: $(ask dbsize) keys"
    ask shutdown nosave 2>/dev/null || true
    while [ -e "$target/restore.pid" ]; do sleep 0.2; done
    ;;
*)
    echo "restore.sh: file or redis, not $kind" >&2
    exit 2
    ;;
esac
