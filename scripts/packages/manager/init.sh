#!/usr/bin/env bash
# Writes this machine's address into the manager's configuration and starts or restarts the manager.
# With `configure`, as the service calls it at every boot, it does not start it. With `stop` it stops
# the manager, until the next boot or start.
#   /run/micado/manager.env       settings detected here, at each start
#   /etc/default/micado-manager   the administrator's settings (MICADO_...=...), which take
#                                 precedence
set -euo pipefail
umask 077
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
home=/opt/micado/manager
run=/run/micado
log=/var/log/micado-manager.log

say() { echo "micado: $*" >&2; }
die() { say "$*"; exit 1; }
engine() { curl --disable --silent --show-error --fail --unix-socket /run/docker.sock "$@"; }

# The address that this machine uses towards the world; nothing is sent.
address() { ip -4 -json route get 192.0.2.1 2>/dev/null | jq --raw-output --exit-status '.[0].prefsrc'; }

configure() {
    local address
    until engine --output /dev/null http://engine/_ping 2>/dev/null; do sleep 0.1; done
    engine --output /dev/null http://engine/images/micado-registry:latest/json 2>/dev/null || load_registry
    address=$(address) || die "this machine has no way out, and so no address that others reach it at: set MICADO_ADVERTISE in /etc/default/micado-manager, and its network"
    mkdir -p "$run"
    printf '%s\n' "MICADO_ADVERTISE=$address" MICADO_LISTEN=0.0.0.0:7443 >"$run/manager.env.new"
    mv "$run/manager.env.new" "$run/manager.env"
    ln -sfn "$home/micado" /usr/local/bin/micado
}

# The engine answers 200 to a failed load too, with the error in the body.
load_registry() {
    local answer
    answer=$(engine --request POST --upload-file "$home/registry.tar" --header 'Content-Type: application/x-tar' 'http://engine/images/load?quiet=1') || die "the engine cannot load the registry's image"
    [[ $answer != *'"error"'* ]] || die "the engine cannot load the registry's image: $answer"
}

# --- Without systemd, the manager is a process of ours.

alive() { [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline") == *"$home/micado manager "* ]]; }

stop_process() {
    local pid looks
    read -r pid 2>/dev/null <"$run/manager.pid" || return 0
    alive "$pid" || return 0
    kill -TERM "$pid"
    for ((looks = 0; looks < 300; looks++)); do
        alive "$pid" || return 0
        sleep 0.1
    done
    kill -KILL "$pid"
}

start_process() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ ^[A-Z_]+= ]]; then export "${line?}"; fi
    done < <(cat "$run/manager.env" /etc/default/micado-manager 2>/dev/null)
    setsid "$home/micado" manager >>"$log" 2>&1 </dev/null 9>&- &
    echo $! >"$run/manager.pid"
}

# ---

restart() {
    if [[ -d /run/systemd/system ]]; then
        log="journalctl -u micado-manager"
        systemctl restart micado-manager
    else
        configure
        stop_process
        start_process
    fi
}

stop() {
    if [[ -d /run/systemd/system ]]; then systemctl stop micado-manager; else stop_process; fi
}

await_manager() {
    local end=$((SECONDS + 120))
    until "$home/micado" status >/dev/null 2>&1; do
        ((SECONDS < end)) || die "the manager does not get ready; its log says why ($log)"
        sleep 0.2
    done
}

[[ $EUID == 0 ]] || die "run this as root"
case ${1:-} in
    configure) configure ;;
    "")
        mkdir -p "$run"
        exec 9>"$run/manager.lock"
        flock 9
        restart
        await_manager
        say "the manager is up"
        ;;
    stop) stop ;;
    *) die "usage: init.sh [configure|stop]" ;;
esac
