# shellcheck shell=bash
# Shared by the scripts here: names, directories outside the tree, addresses.
export cluster=spotify-api-server
export cache=${XDG_CACHE_HOME:-$HOME/.cache}/$cluster
export state=${XDG_STATE_HOME:-$HOME/.local/state}/$cluster/cluster

# The network of host and node, and the networks of pods and services behind the node.
export host_address=172.31.255.1
export node_address=172.31.255.2
export pod_network=10.244.0.0/16
export service_network=10.96.0.0/16
# Namespace and name of the one Gateway that the node serves.
export gateway=spotify-e2e-edge/edge
export containerd=$state/containerd/containerd.sock

die() {
  printf '%s\n' "$0: $*" >&2
  exit 1
}

require() {
  local program missing=()
  for program; do command -v "$program" >/dev/null || missing+=("$program"); done
  ((${#missing[@]} == 0)) || die "not installed: ${missing[*]}"
}
