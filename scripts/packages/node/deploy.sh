#!/usr/bin/env bash
# Makes a machine's image, once: unpacks the input.tar.gz beside it into /opt/micado, installs what
# is missing, and enables the unpacked services at boot.
# Files that are in place already (cloud-init) are not unpacked. The same for every role; for Debian
# and Ubuntu.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
me=$(readlink -f "$0")
[[ $EUID == 0 ]] || exec sudo -n bash "$me" "$@"
here=$(dirname "$me")
home=/opt/micado

say() { echo "micado: $*" >&2; }
die() { say "$*"; exit 1; }

unpack() {
    if [[ -f $here/input.tar.gz ]]; then
        mkdir -p "$home"
        tar -xzf "$here/input.tar.gz" -C "$home" --no-same-owner --touch
    elif [[ $here != "$home"/* ]]; then
        die "input.tar.gz is not beside $me: upload both files of the package"
    fi
}

# Commands of the scripts with their packages. An engine from elsewhere is as good.
missing() {
    local command package
    while read -r command package; do
        command -v "$command" >/dev/null || echo "$package"
    done <<'END'
dockerd docker.io
curl curl
openssl openssl
jq jq
iptables iptables
ip iproute2
END
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
}

# A machine that has just booted may be updating itself: apt waits for its turn, and a list that was
# changing is fetched again.
apt() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }
install_missing() {
    local packages try
    mapfile -t packages < <(missing)
    ((${#packages[@]})) || return 0
    command -v apt-get >/dev/null || die "please install: ${packages[*]}"
    say "installing ${packages[*]}"
    for try in 1 2 3 4 5; do
        if apt update && apt install --yes --no-install-recommends "${packages[@]}"; then return; fi
        say "that did not work ($try of 5)"
        sleep 10
    done
    die "cannot install ${packages[*]}: see apt's output above"
}

# `enable` works without a running systemd too, as in a chroot.
enable_services() {
    local unit
    command -v systemctl >/dev/null || return 0
    for unit in "$home"/*/*.service; do
        [[ -f $unit ]] || continue
        install -m 0644 "$unit" /etc/systemd/system/
        if [[ -d /run/systemd/system ]]; then systemctl daemon-reload; fi
        systemctl enable "${unit##*/}"
    done
}

# Ports that a role serves to the world, one `PORT/PROTOCOL` per line, on machines with ufw.
open_ports() {
    local file port
    command -v ufw >/dev/null || return 0
    for file in "$home"/*/ports; do
        [[ -f $file ]] || continue
        while read -r port; do ufw allow "$port"; done <"$file"
    done
}

unpack
install_missing
enable_services
open_ports
say "the image is ready"
