#!/usr/bin/env bash
# Run at each start of a CloudBroker job, in the job's folder: lays the order out in /etc/micado and has init.sh take the machine into the cluster. Its arguments say nothing to us.
#   micado-join.tar   the order: labels, manager, ca.crt, credential
#   all others        what a person gave to `micado start`: they go to /etc/micado/files
# May be run twice, and also where the tar has been used up already.
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
    # It holds the credential, and what lies in the job's folder may be sent back to the broker.
    rm micado-join.tar
fi
exec 9>&-
exec "$home/init.sh"
