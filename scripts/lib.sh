# shellcheck shell=bash
# Shared by the scripts: messages and failures, processes we started, an engine to work on, and
# removal by label. Set `me` before sourcing it.

# shellcheck disable=SC2034 # for those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
named_engine=${DOCKER_HOST:-}
export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}

say() { echo "${me:?}: $*" >&2; }
die() { say "$*"; exit 1; }

# die_log LOG MESSAGE...: fails with the tail of a log and its path.
die_log() {
    local log=$1
    shift
    [[ ! -s $log ]] || tail -n 5 "$log" | sed 's/^/    /' >&2
    die "$* (log: $log)"
}

# A short hash of the files named.
digest() { cat "$@" | sha256sum | cut -c1-12; }

# --- Processes that we started.
# A file holds the pid and its start time, so that a reused pid is not taken for ours.

# Empty for a process that has ended, zombies included.
started_at() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) }
    [[ $stat == Z* ]] || cut -d' ' -f20 <<<"$stat"
}
remember() { echo "$2 $(started_at "$2")" >"$1"; }
alive() {
    local pid start
    read -r pid start 2>/dev/null <"$1" && [[ -n $start && $(started_at "$pid") == "$start" ]]
}

# wait_for SECONDS COMMAND...: repeats the command until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}
gone() { ! alive "$1"; }
# Ends a wait: the command succeeds, or the process it needs is gone.
ready_or_gone() { local pidfile=$1; shift; "$@" || gone "$pidfile"; }

# stop_process PIDFILE NAME: sends SIGTERM, and SIGKILL after 30 s.
stop_process() {
    local pid
    if alive "$1"; then
        read -r pid _ <"$1"
        say "stopping $2 (pid $pid)"
        kill -TERM "$pid"
        wait_for 30 gone "$1" || kill -KILL "$pid"
        wait_for 5 gone "$1" || die "$2 (pid $pid) does not end"
    fi
    rm -f "$1"
}

# free_port FROM: prints the first free port of loopback from there on. Stays below 32768, where
# ports of outgoing connections begin.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

# shown_url URL: prints it without user, password and options. A password may hold an @ by mistake.
# Other texts are printed unchanged.
shown_url() {
    local rest=${1#*://}
    [[ $1 == *://* ]] || { echo "$1"; return; }
    rest=${rest##*@}
    rest=${rest%%\?*}
    # The default database, if none is named.
    case $rest in
        */?*) ;;
        *) rest=${rest%/}/micado ;;
    esac
    echo "${1%%://*}://$rest"
}

# --- Requirements of a machine.

# install_missing LOG [PACKAGES...]: prints what is missing, then installs it, and these packages.
install_missing() {
    local packages=("${@:2}")
    command -v cargo >/dev/null || die "the Rust toolchain is missing: install it from https://rustup.rs (with sudo, keep PATH: sudo -E env PATH=\"\$PATH\" $0)"
    engine_answers || command -v dockerd >/dev/null || packages+=(docker.io)
    command -v iptables >/dev/null || packages+=(iptables)
    command -v debootstrap >/dev/null || packages+=(debootstrap)
    command -v curl >/dev/null || packages+=(curl)
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    command -v make >/dev/null || packages+=(make)
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || packages+=(ca-certificates)
    if ((${#packages[@]})); then
        command -v apt-get >/dev/null || die "please install: ${packages[*]}"
        say "will install: ${packages[*]} (log: $1)"
        apt_get "$1" update
        apt_get "$1" install --yes --no-install-recommends "${packages[@]}"
    fi
    # From Debian 13 on, the command line is a package of its own.
    command -v docker >/dev/null || { say "will install: docker-cli (log: $1)"; apt_get "$1" install --yes --no-install-recommends docker-cli; }
}
# Packages for the server of scripts/mongod, if no MongoDB is installed.
packages_for_mongod() {
    [[ -z ${MONGOD_BIN:-} ]] && ! command -v mongod >/dev/null || return 0
    python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
    ldconfig -p 2>/dev/null | grep -q 'libcurl\.so\.4' || echo libcurl4
}
apt_get() {
    local log=$1
    shift
    [[ $EUID == 0 ]] || die "installing needs root: run this script as root"
    DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$log" 2>&1 || die_log "$log" "apt-get $1 failed"
}

# wheels NAME: prints the folder, in target/, with the wheels of scripts/requirements-NAME.txt;
# downloads them if absent.
wheels() {
    local folder=$root/target/$1 list=$root/scripts/requirements-$1.txt
    mkdir -p "$root/target"
    exec 8>"$folder.lock"
    flock 8
    if ! cmp -s "$list" "$folder/requirements.txt"; then
        rm -rf "$folder.new"
        python3 -m pip install --quiet --no-deps --only-binary :all: --require-hashes --target "$folder.new" -r "$list" >"$folder.log" 2>&1 || {
            tail -n 5 "$folder.log" | sed 's/^/    /' >&2
            say "cannot install what $list lists (log: $folder.log)"
            return 1
        }
        cp "$list" "$folder.new/requirements.txt"
        rm -rf "$folder"
        mv "$folder.new" "$folder"
    fi
    exec 8>&-
    echo "$folder"
}

engine_answers() { docker version >/dev/null 2>&1; }
require_engine() { engine_answers || die "no Docker Engine answers at $DOCKER_HOST: start it, or set DOCKER_HOST"; }

# own_engine [--fetch|--images] COMMAND...: for tests. Returns if the engine is a test's own, or was
# named by DOCKER_HOST and is in no Swarm. Else runs the command, in place of this script, with an
# engine of its own.
own_engine() {
    local state
    if [[ -z ${MICADO_OWN_ENGINE:-}$named_engine ]]; then exec "$root/scripts/own-engine" "$@"; fi
    require_engine
    state=$(docker info --format '{{.Swarm.LocalNodeState}}')
    [[ $state == inactive ]] || die "the engine at $DOCKER_HOST is in a Swarm, and a test could harm what runs there: unset DOCKER_HOST (an engine of the test's own is started then), or name an engine that is in none"
}

# Images for tests, built from earlier downloads on an engine without a network.
images=(node cloudbroker registry web)
fetch_for_images() {
    local image
    # Inside a test, the caller outside has downloaded them.
    [[ -z ${CARGO_NET_OFFLINE:-} ]] || return 0
    (cd "$root" && cargo fetch --locked --quiet) || die "cargo cannot fetch the crates"
    for image in node cloudbroker registry; do "$root/scripts/$image-image/build" --fetch >/dev/null || die "scripts/$image-image/build --fetch failed; see its output above"; done
}
build_images() {
    local image
    for image in "${images[@]}"; do "$root/scripts/$image-image/build" >/dev/null || die "scripts/$image-image/build failed; see its output above"; done
}

# hub_answers IMAGE: succeeds if the engine has the image of Docker Hub, or can pull it. The engine
# begins a pull by naming the repository, once the registry has answered; an unreachable registry
# stays silent for a long time.
hub_answers() {
    local line
    docker image inspect "$1" >/dev/null 2>&1 && return
    read -r -t 10 line < <(docker pull "$1" 2>/dev/null) && [[ $line == *Pulling* ]]
}

# start_engine FOLDER: starts dockerd if no engine answers, with its pid file and log in the folder.
start_engine() {
    local pidfile=$1/dockerd.pid log=$1/dockerd.log
    if engine_answers; then return; fi
    [[ $DOCKER_HOST == unix://* ]] || die "no Docker Engine answers at $DOCKER_HOST"
    [[ $EUID == 0 ]] || die "no Docker Engine answers at $DOCKER_HOST, and starting one needs root"
    say "no Docker Engine answers at $DOCKER_HOST: starting one"
    forget_stale_pid /var/run/docker.pid dockerd
    forget_stale_pid /var/run/docker/containerd/containerd.pid containerd
    setsid dockerd --host "$DOCKER_HOST" >"$log" 2>&1 </dev/null 9>&- &
    remember "$pidfile" $!
    wait_for 60 ready_or_gone "$pidfile" engine_answers || true
    engine_answers || die_log "$log" "dockerd does not come up"
}

# A killed engine leaves its pid behind, and the next one does not start while any process has that
# pid.
forget_stale_pid() {
    local pid
    { read -r pid || [[ -n $pid ]]; } 2>/dev/null <"$1" || return 0
    [[ -n $(started_at "$pid") && $(cat "/proc/$pid/comm" 2>/dev/null) == "$2" ]] || rm -f "$1"
}

# --- Removal by label, on the engine at $DOCKER_HOST.

in_swarm() { [[ $(docker info --format '{{.Swarm.ControlAvailable}}') == true ]]; }

# labelled KIND LABEL: prints the ids of everything with the label.
labelled() {
    case $1 in
        services | nodes) if in_swarm; then docker "${1%s}" ls --quiet --filter "label=$2"; fi ;;
        containers) docker ps --all --quiet --no-trunc --filter "label=$2" ;;
        *) docker "${1%s}" ls --quiet --filter "label=$2" ;;
    esac
}

# Cgroups have no labels: ours are those of the containers noted here, and no others.
noted=()
# note_containers LABEL: records the ids of containers with the label, for the later removal of
# their cgroups. Containers removed earlier are unknown; their remover cleaned up.
note_containers() {
    local ids
    mapfile -t ids < <(labelled containers "$1")
    noted+=("${ids[@]}")
}

# sweep LABEL: removes everything with the label.
sweep() {
    local ids kind
    note_containers "$1"
    for kind in services containers nodes networks volumes; do
        mapfile -t ids < <(labelled "$kind" "$1")
        ((${#ids[@]})) || continue
        say "removing ${#ids[@]} $kind labelled $1"
        case $kind in
            services) docker service rm "${ids[@]}" ;;
            containers) docker rm --force --volumes "${ids[@]}" ;;
            nodes) docker node rm --force "${ids[@]}" ;;
            networks) wait_for 15 remove_networks "$1" ;;
            volumes) docker volume rm --force "${ids[@]}" ;;
        esac >/dev/null || say "some $kind are not gone yet"
    done
    wait_for 5 remove_cgroups || say "some cgroups are not gone yet"
}

# The tasks of a service hold its network for a moment after its removal.
remove_networks() {
    local id
    for id in $(labelled networks "$1"); do docker network rm "$id" >/dev/null 2>&1 || true; done
    [[ -z $(labelled networks "$1") ]]
}

# Cgroups left by the noted containers: machines have others below their own, which the engine does
# not remove.
dead_cgroups() {
    local folders=() id
    for id in "${noted[@]}"; do
        docker container inspect "$id" >/dev/null 2>&1 || folders+=(-o -name "$id" -o -name "docker-$id.scope")
    done
    ((${#folders[@]})) || return 0
    find /sys/fs/cgroup -maxdepth 4 -type d \( "${folders[@]:1}" \) 2>/dev/null || true
}

# The kernel refuses for a moment after the last process has ended.
remove_cgroups() {
    local cgroup
    for cgroup in $(dead_cgroups); do find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
    [[ -z $(dead_cgroups) ]]
}

# count_left LABEL: prints one line per kind of thing, cgroups of noted containers included; fails
# if anything is left.
count_left() {
    local kind count left=0
    for kind in services containers nodes networks volumes; do
        count=$(labelled "$kind" "$1" | wc -l)
        printf '  %-12s %s left\n' "$kind" "$count"
        left=$((left + count))
    done
    count=$(dead_cgroups | wc -l)
    printf '  %-12s %s left\n' cgroups "$count"
    ((left + count == 0))
}
