# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names are shared with ./run and ../cluster/env.sh
# Shared functions of the scenarios; sourced by ./run.
namespace=spotify-e2e
release=spotify-api-server
chart=charts/spotify-api-server
image=${IMAGE:-localhost/spotify-api-server:e2e}
dev_image=${DEV_IMAGE:-localhost/spotify-api-server:e2e-dev}
edge=${gateway%/*} # the namespace of the Gateway and of the node's collector
edge_host=swap.example.com
client_secret=$(openssl rand -hex 16) secret_key=$(openssl rand -hex 32) previous_keys=''

report=${REPORT:-${state%/*}/e2e.txt}
mkdir -p "${report%/*}"
exec > >(tee "$report") 2>&1
work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
in_namespace() { kubectl --namespace "$namespace" "$@"; }
ours() { [[ $(kubectl config current-context) == "$cluster-node" ]]; }

not_run() { # PART REASON
  say "NOT RUN: $1: $2"
  ! ours # the node of tests/cluster/up has all
}

failed() {
  trap - ERR
  exec >&2 # stdout may lead elsewhere where it failed
  in_namespace get pods --output wide || true
  in_namespace get events --field-selector type=Warning || true
  in_namespace logs --selector app.kubernetes.io/component=server --tail=20 || true
  say "FAILED in $(caller)"
  jobs -p | xargs --no-run-if-empty kill
}
trap failed ERR

# Run one of the programs in client/ where apps would be: on the cluster's network, in the pod client.
client() { # NAME [ARGUMENT...]
  in_namespace exec --stdin "${from:-client}" -- env "SERVICE_URL=${service_url:-http://$release}" \
    "JAEGER_URL=${jaeger_url:-http://jaeger:16686}" \
    /opt/venv/bin/python "/client/$1.py" "${@:2}"
}

deploy() { # [HELM OPTION...]
  helm upgrade "$release" "$chart" --install --namespace "$namespace" \
    --values tests/e2e/values.yaml --values <(credentials) --set "image.repository=${image%:*}" \
    --set-string "image.tag=${image##*:}" --wait "$@" >/dev/null
}

credentials() {
  printf 'spotify: {clientId: e2e, clientSecret: "%s", secretKey: "%s", secretKeysPrevious: [%s]}\n' \
    "$client_secret" "$secret_key" "$previous_keys"
}

passes() { # RELEASE: what `helm test` printed is in its pod's log
  helm test "$1" --namespace "$namespace" >/dev/null
}

# Remove a release; nothing of it may be left in the namespace.
uninstall() { # RELEASE
  local seconds=0
  helm uninstall "$1" --namespace "$namespace" --wait >/dev/null
  until diff <(printf '%s\n' "$before") <(objects) >"$report.left"; do
    ((++seconds < 60)) || { cat "$report.left" && false; }
    sleep 1
  done
}

pods() {
  in_namespace get pods --output name --selector app.kubernetes.io/component=server
}

gone() { xargs kubectl --namespace "$namespace" wait --for=delete --timeout=90s >/dev/null; }

# Restart all pods of a Deployment, this many times, while clients have load on it.
restarts_under_load() { # DEPLOYMENT TIMES [COMMAND BEFORE THEM...]
  local old load restart
  client load >"$report.load" &
  load=$!
  sleep 3
  "${@:3}"
  for ((restart = 1; restart <= $2; restart++)); do
    old=$(pods)
    in_namespace rollout restart "deployment/$1" >/dev/null
    in_namespace rollout status "deployment/$1" --timeout=2m >/dev/null
    gone <<<"$old"
  done
  in_namespace exec client -- touch /tmp/stop
  wait "$load"
  in_namespace exec client -- rm /tmp/stop
  grep --quiet '"failed": 0,' "$report.load" || { cat "$report.load" && false; }
}

within() { # SECONDS COMMAND [ARGUMENT...]
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < end)) || return 1
    sleep 1
  done
}

# Everything in the namespace but events, and Endpoints, which repeat EndpointSlices.
objects() {
  in_namespace get --ignore-not-found --output name "$(kubectl api-resources --namespaced \
    --verbs=list --output name | grep --invert-match --extended-regexp \
    '^(events.*|endpoints|.*\.metrics\.k8s\.io)$' | paste --serial --delimiters=,)"
}

# Have a Gateway with a certificate for $edge_host, and its address, if the cluster has a class.
make_gateway() {
  local class
  gateway_address=''
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$edge_host" \
    -addext "subjectAltName=DNS:$edge_host" -keyout "$work/edge.key" -out "$work/ca.crt" 2>/dev/null
  class=$(kubectl get gatewayclasses --output jsonpath='{.items[*].metadata.name}' 2>/dev/null || true)
  [[ $class ]] || return 0
  kubectl --namespace "$edge" create secret tls edge --cert="$work/ca.crt" --key="$work/edge.key" >/dev/null
  sed "s|class-of-the-cluster|${class%% *}|" tests/e2e/gateway.yaml |
    kubectl --namespace "$edge" create --filename - >/dev/null
  kubectl --namespace "$edge" wait --for=condition=Programmed gateway/edge --timeout=1m >/dev/null
  gateway_address=$(kubectl --namespace "$edge" get gateway edge --output jsonpath='{.status.addresses[0].value}')
}
