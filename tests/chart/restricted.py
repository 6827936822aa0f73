"""Pod Security Standards, profile "restricted" (with "baseline", which it includes), as a function.

Source: Kubernetes' documentation, "Pod Security Standards". A cluster that enforces it is asked by
`make e2e`; this asks every rendering, in milliseconds.
"""

from collections.abc import Iterator
from typing import Any, Final

Spec = dict[str, Any]

VOLUMES: Final = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ]
)
SYSCTLS: Final = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    ]
)
SELINUX_TYPES: Final = frozenset(
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"]
)
PROFILES: Final = frozenset(["RuntimeDefault", "Localhost"])


def violations(pod: Spec) -> list[str]:
    """Return a line for everything in a pod's spec that the profile refuses."""
    found = [*_of_pod(pod), *_of_context("pod", pod.get("securityContext", {}))]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            found += _of_container(container, pod.get("securityContext", {}))
    return found


def _of_pod(pod: Spec) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"pod: {name}"
    for volume in pod.get("volumes", []):
        yield from (f"pod: volume {kind}" for kind in volume.keys() - VOLUMES - {"name"})
    for sysctl in pod.get("securityContext", {}).get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"pod: sysctl {sysctl['name']}"


def _of_context(owner: str, context: Spec) -> Iterator[str]:
    """Check the fields that pod and container security contexts share."""
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{owner}: hostProcess"
    if context.get("runAsUser") == 0:
        yield f"{owner}: runAsUser=0"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.keys() & {"user", "role"}:
        yield f"{owner}: seLinuxOptions"
    for name in ("seccompProfile", "appArmorProfile"):
        if context.get(name, {}).get("type", "RuntimeDefault") not in PROFILES:
            yield f"{owner}: {name}"


def _of_container(container: Spec, pod_context: Spec) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    yield from _of_context(name, context)
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{name}: hostPort"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    yield from (f"{name}: no {field}" for field in _missing(context, pod_context))
    yield from _of_capabilities(name, context.get("capabilities", {}))
    yield from _of_hosts(name, container)


def _missing(context: Spec, pod_context: Spec) -> Iterator[str]:
    """Return the violations of fields that must be set on the container or the pod."""
    if not context.get("runAsNonRoot", pod_context.get("runAsNonRoot")):
        yield "runAsNonRoot"
    if "seccompProfile" not in {**pod_context, **context}:
        yield "seccompProfile"


def _of_capabilities(name: str, capabilities: Spec) -> Iterator[str]:
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities not dropped"
    for added in capabilities.get("add", []):
        if added != "NET_BIND_SERVICE":
            yield f"{name}: capability {added}"


def _of_hosts(name: str, container: Spec) -> Iterator[str]:
    """Find probes and hooks that the kubelet would send elsewhere (since Kubernetes 1.34)."""
    hooks = container.get("lifecycle", {})
    asked = [
        *(container.get(f"{kind}Probe", {}) for kind in ("startup", "liveness", "readiness")),
        *(hooks.get(kind, {}) for kind in ("postStart", "preStop")),
    ]
    if any(one.get(how, {}).get("host") for one in asked for how in ("httpGet", "tcpSocket")):
        yield f"{name}: a host to probe"
