#!/usr/bin/env bash
# Joins this machine's engine to the cluster, by the order in /etc/micado: trades the order's
# credential at the manager for everything it needs, and joins the Swarm.
# Runs at every boot and at every start of a job; completed steps are not repeated. Exits with 0
# when the machine has joined, with 1 when the manager refuses it for good.
set -euo pipefail
umask 077
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
etc=/etc/micado
work=/run/micado/init # what is secret and passing

say() { echo "micado: $*" >&2; }
die() { say "$*"; exit 1; }

# No foreign curlrc; children do not hold the lock of a killed parent.
quiet_curl() { curl --disable --silent --show-error "$@" 9>&-; }
engine() { quiet_curl --unix-socket /run/docker.sock "$@"; }

# write FILE: replaces it with standard input, whole or not at all.
write() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

# --- Waiting.

pause=200
# back_off MESSAGE...: reports the problem and waits, longer each time, up to 10 s. Jitter (50 to
# 100 %) keeps many machines from returning at once.
back_off() {
    local wait=$((pause * (50 + RANDOM % 51) / 100))
    say "$*; trying again"
    sleep "$(printf '%d.%03d' $((wait / 1000)) $((wait % 1000)))" 9>&-
    pause=$((pause < 5000 ? pause * 2 : 10000))
}

# --- The engine.

state=
missing=
# Reads the engine's Swarm state, and how many of our labels it lacks. Fails if the engine does not
# answer.
look() {
    engine --fail http://engine/info --output "$work/info" 2>/dev/null || return
    read -r state missing < <(jq --raw-output --argjson wanted "$wanted" '"\(.Swarm.LocalNodeState) \($wanted - (.Labels // []) | length)"' "$work/info")
}

await_engine() {
    local looks
    for ((looks = 1; ; looks++)); do
        if look; then return; fi
        sleep 0.05 9>&-
        ((looks % 600)) || say "the Docker Engine does not answer yet"
    done
}

# Labels of other names are foreign; ours of an earlier order are removed.
write_labels() {
    local file=/etc/docker/daemon.json new
    mkdir -p /etc/docker
    [[ -e $file ]] || (umask 022; echo '{}' >"$file")
    new=$(jq --slurp --argjson wanted "$wanted" '(.[0] // {}) as $old | ($old | .labels = ((.labels // []) | map(select(startswith("micado.") | not))) + $wanted) | select(. != $old)' "$file") \
        || die "$file is not valid for an engine: repair it"
    [[ -n $new ]] || return 0
    cp --preserve=mode "$file" "$file.new"
    echo "$new" >"$file.new"
    mv "$file.new" "$file"
}

# Waits until the engine has the labels: they apply from the moment of joining, and no container may
# be placed here by an older set.
load_labels() {
    local looks
    while ((missing)); do
        if [[ -d /run/systemd/system ]]; then systemctl reload docker; else kill -HUP "$(cat /run/docker.pid)"; fi || true
        for ((looks = 0; looks < 40; looks++)); do
            if look && ((missing == 0)); then return; fi
            sleep 0.05 9>&-
        done
        back_off "the engine does not take the labels of /etc/docker/daemon.json (its log says why)"
    done
}

# --- The trade.

# Both are in /etc/micado, so that they survive a kill: the manager binds the credential to this
# key.
own_key() {
    [[ -s $etc/node.key ]] && return
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 2>/dev/null | write "$etc/node.key"
    sync "$etc/node.key" "$etc"
}

# The credential is in no argument and no environment.
request() {
    local instance
    IFS=. read -r instance _ <"$etc/credential" || true
    [[ $instance =~ ^[A-Za-z0-9_-]+$ ]] || die "$etc/credential is not one: it begins with no instance id"
    openssl req -new -key "$etc/node.key" -subj "/CN=$instance" -out "$work/csr"
    jq --null-input --rawfile credential "$etc/credential" --rawfile csr "$work/csr" '{credential: ($credential | rtrimstr("\n")), csr: $csr}' >"$work/request"
}

# The message in a reply of the manager or the engine.
words() { jq --raw-output --exit-status '(.message // error("none")) + (if .hint then " (" + .hint + ")" else "" end)' "$work/answer" 2>/dev/null || head -c 300 "$work/answer" | tr '\n' ' '; }

# Mandatory parts of the reply, in the order of `lay_out`; each with a NUL after it.
parts='select(.swarm.JoinToken and .certificate and .authority and .registry.host)
    | [.swarm, (.hosts // [] | map(. + "\n") | add), .certificate, (.registry | .host, .authority, .certificate, .key)] | map("\(. // "")\u0000") | add'
answer=()

# Trusts only the order's authority, and uses no proxy. Succeeds with a valid reply.
trade() {
    local url status
    read -r url <"$etc/manager" || true
    : >"$work/answer"
    if ! status=$(quiet_curl --noproxy '*' --proto '=https' --cacert "$etc/ca.crt" --capath /dev/null --connect-timeout 5 --max-time 30 \
        --header 'Content-Type: application/json' --data-binary "@$work/request" --output "$work/answer" --write-out '%{http_code}' "$url" 2>"$work/error"); then
        back_off "no good answer from $url: $(tr '\n' ' ' <"$work/error")"
        return 1
    fi
    case $status in
        200)
            mapfile -d '' -t answer < <(jq --join-output "$parts" "$work/answer" 2>/dev/null)
            ((${#answer[@]} == 7)) && return
            back_off "the answer of $url is not that of a manager"
            ;;
        401 | 403 | 409 | 410)
            words | write "$etc/refused"
            die "the manager refuses this machine for good: $(cat "$etc/refused")"
            ;;
        *) back_off "the manager answers $status: $(words)" ;;
    esac
    return 1
}

# Writes the parts of the reply. They count only once the machine has joined, so this need not be
# atomic.
lay_out() {
    local host=${answer[3]} certs
    [[ $host =~ ^(\[[0-9A-Fa-f:.]+]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[0-9]+)?$ ]] || die "the manager names a registry that is no HOST:PORT: $host"
    certs=/etc/docker/certs.d/$host
    mkdir -p "$certs"
    printf %s "${answer[0]}" >"$work/swarm"
    printf %s "${answer[1]}" >"$etc/hosts"
    printf %s "${answer[2]}" >"$etc/node.crt"
    printf %s "${answer[4]}" >"$certs/ca.crt"
    printf %s "${answer[5]}" >"$certs/client.cert"
    if [[ -n ${answer[6]} ]]; then printf %s "${answer[6]}" >"$certs/client.key"; else cp "$etc/node.key" "$certs/client.key"; fi
}

# At every boot: the /etc/hosts of a container, and under cloud-init, is new. It may be a mount, so
# lines are only added.
add_hosts() {
    local line
    [[ -f $etc/hosts ]] || return 0
    while IFS= read -r line; do
        grep -qxF -- "$line" /etc/hosts || echo "$line" >>/etc/hosts
    done <"$etc/hosts"
}

join_swarm() {
    local status
    status=$(engine --max-time 60 --header 'Content-Type: application/json' --data-binary "@$work/swarm" --output "$work/answer" --write-out '%{http_code}' http://engine/swarm/join) || true
    [[ $status == 200 ]] && return
    # The token may have been rotated meanwhile: another trade returns the new one.
    back_off "the engine does not join the Swarm ($status): $(words)"
    return 1
}

# An engine interrupted while joining continues by itself. One that makes no progress starts over,
# unless it has joined before: the manager decides about that.
since=$SECONDS
start_over() {
    ((SECONDS - since > 60)) || return 0
    say "the engine makes no progress: starting over"
    engine --request POST --output /dev/null 'http://engine/swarm/leave?force=true' || true
    since=$SECONDS
}

enter() {
    while :; do
        case $state in
            active) return ;;
            inactive)
                [[ -s $work/request ]] || die "this machine is in no Swarm and has no credential: its order was used up; rent another machine"
                load_labels
                since=$SECONDS
                if trade; then
                    lay_out
                    add_hosts
                    if join_swarm; then return; fi
                fi
                ;;
            *)
                [[ -s $work/request ]] || { say "the engine is $state in its Swarm"; exit 0; }
                start_over
                back_off "the engine is $state in its Swarm"
                ;;
        esac
        await_engine
    done
}

# Does nothing if it runs already. Without a certificate it cannot connect.
start_agent() {
    local home=/opt/micado/node
    [[ -s $etc/node.crt ]] || return 0
    if [[ -d /run/systemd/system ]]; then
        systemctl start --no-block micado-agent.service || say "the agent's service does not start"
    else
        setsid "$home/keep-agent" >>/var/log/micado-agent.log 2>&1 </dev/null 9>&- &
    fi
}

[[ $EUID == 0 ]] || die "run this as root"
mkdir -p /run/micado
exec 9>/run/micado/init.lock
flock 9
[[ -s $etc/manager && -s $etc/ca.crt && -f $etc/labels ]] || die "the order in $etc is incomplete (labels, manager, ca.crt): execute.sh or cloud-init writes it"
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

# Everything possible while the engine is still booting comes before waiting for it.
wanted=$(jq --raw-input --slurp --compact-output 'split("\n") | map(select(. != ""))' "$etc/labels")
add_hosts
write_labels
own_key
if [[ -s $etc/credential ]]; then request; fi
await_engine
start_agent
enter
start_agent
rm -f "$etc/credential" "$etc/refused"
say "in the Swarm"
