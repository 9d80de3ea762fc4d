#!/bin/sh
# Backs a store up while the engine runs, and keeps the last copies.
#
#   backup.sh file  /var/lib/autofunnel/autofunnel.db  /mnt/backup     a store in a file, or a read side's file
#   backup.sh redis 127.0.0.1:6379                     /mnt/backup     a store in Redis; password in REDISCLI_AUTH
#
# KEEP (14) copies are kept. The exit code is 0 only when the new copy is whole.
set -eu
kind=${1:?file or redis}
source=${2:?the file, or host:port}
folder=${3:?the folder of the copies}
keep=${KEEP:-14}
now=$(date -u +%Y%m%dT%H%M%SZ)
umask 077
mkdir -p "$folder"

case $kind in
file)
    # One read transaction, looked through, on disk; its name appears when it is whole.
    autofunnel backup --store "$source" --to "$folder/store-$now.db"
    ending=db
    ;;
redis)
    # The whole of Redis at one instant, streamed: it forks the server, which needs room for what changes meanwhile.
    redis-cli -h "${source%:*}" -p "${source##*:}" --rdb "$folder/store-$now.rdb.part" >/dev/null
    redis-check-rdb "$folder/store-$now.rdb.part" >/dev/null
    sync "$folder/store-$now.rdb.part"
    mv "$folder/store-$now.rdb.part" "$folder/store-$now.rdb"
    ending=rdb
    ;;
*)
    echo "backup.sh: file or redis, not $kind" >&2
    exit 2
    ;;
esac

# The oldest beyond KEEP go.
find "$folder" -maxdepth 1 -name "store-*.$ending" | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
    rm -- "$old"
done
