#!/usr/bin/env bash
# Runs at each start of the manager's CloudBroker job, in the job's folder: installs the
# administrator's input files and starts the manager through init.sh. May run twice.
#   cloudsetup.xml   the clouds and applications
#   cbcredentials    user and password on two lines, named as credentials in cloudsetup.xml
# An input that is absent this time keeps its earlier content.
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
# The broker may send back the content of the job's folder.
rm -f cbcredentials
[[ -f $state/cloudsetup.xml ]] || die "give the job an input file cloudsetup.xml (and cbcredentials)"
exec "$home/init.sh"
