#!/usr/bin/env bash
# Runs at each start of a CloudBroker job, in the job's folder: unpacks the order into /etc/micado
# and joins the cluster through init.sh. Ignores its arguments.
#   micado-join.tar   the order: labels, manager, ca.crt, credential
#   all others        files given to `micado start`, for /etc/micado/files
# May run twice, also after the tar was used up.
set -euo pipefail
umask 077
me=$(readlink -f "$0")
[[ $EUID == 0 ]] || exec sudo -n bash "$me" "$@"
home=/opt/micado/node
etc=/etc/micado

[[ -x $home/init.sh ]] || { echo "micado: $home/init.sh is not there: this image was not made by deploy.sh" >&2; exit 1; }
mkdir -p /run/micado "$etc/files"
exec 9>/run/micado/execute.lock
flock 9
for file in * .[!.]*; do
    [[ -f $file && $file != micado-join.tar && ! $file -ef $me ]] || continue
    cp --no-preserve=all -- "$file" "$etc/files/"
done
if [[ -f micado-join.tar ]]; then
    tar -x --no-same-owner --no-same-permissions -C "$etc" -f micado-join.tar
    # It holds the credential, and the broker may send back the content of the job's folder.
    rm micado-join.tar
fi
exec 9>&-
exec "$home/init.sh"
