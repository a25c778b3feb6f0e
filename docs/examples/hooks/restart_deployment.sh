#!/bin/sh
# Restarts a Kubernetes deployment, and waits until its pods have the new value.
# Usage: restart_deployment.sh DEPLOYMENT [NAMESPACE]
#
# It is for pods that read the vault when they start, such as by the Secrets Store CSI driver. A Secret that External
# Secrets copies from the vault must be copied first.
set -eu
deployment="deployment/${1:?name the deployment}"
namespace="${2:-default}"
command -v kubectl >/dev/null || { echo "kubectl is not on the PATH" >&2; exit 1; }

if [ "$ROTATOR_HOOK_EVENT" = test ]; then
  kubectl get "$deployment" --namespace "$namespace" --output name
  exit
fi
kubectl rollout restart "$deployment" --namespace "$namespace"
# Less than `timeout` of the hook: so that the reason is told.
kubectl rollout status "$deployment" --namespace "$namespace" --timeout 3m
