#!/usr/bin/env bash
# Run at each start of the manager's CloudBroker job, in the job's folder: puts the administrator's input files in place and has init.sh start the manager. May be run twice.
#   cloudsetup.xml   the clouds and applications
#   cbcredentials    user and password on two lines, which cloudsetup.xml names as its credentials
# An input that is not there this time stays as it was given before.
set -euo pipefail
umask 077
me=$(readlink -f "$0")
[[ $EUID == 0 ]] || exec sudo -n bash "$me" "$@"
home=/opt/micado/manager
state=/var/lib/micado

die() { echo "micado: $*" >&2; exit 1; }

[[ -x $home/init.sh ]] || die "$home/init.sh is not there: this image was not made by deploy.sh"
mkdir -p "$state"
for input in cloudsetup.xml cbcredentials; do
    [[ -f $input ]] || continue
    cp --no-preserve=all "$input" "$state/$input.new"
    mv "$state/$input.new" "$state/$input"
done
# What lies in the job's folder may be sent back to the broker.
rm -f cbcredentials
[[ -f $state/cloudsetup.xml ]] || die "give the job an input file cloudsetup.xml (and cbcredentials)"
exec "$home/init.sh"
