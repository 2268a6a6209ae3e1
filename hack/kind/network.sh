# The pod network of nodes that hack/cluster made an image for: what kind's own would do, for IPv4 and no policies.
#
# Every node's pods have a range of their own. Each node writes the CNI configuration for its range, and leads what is
# for the ranges of others to them. A node that goes takes its route along, one that comes back gets it again.
set -uo pipefail
trap 'exit 0' TERM
declare -A via=()

write_configuration() {
  local file=/etc/cni/net.d/10-pods.conflist
  [ -e "$file" ] && grep -q "\"$1\"" "$file" && return
  cat > "$file.new" <<END
{"cniVersion": "0.3.1", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state", "ranges": [[{"subnet": "$1"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
  mv "$file.new" "$file"
  echo "pods of this node are in $1"
}

identity=/var/run/secrets/kubernetes.io/serviceaccount
get_nodes() {
  kubectl get nodes --request-timeout=5s --output=jsonpath="$1" --cache-dir=/run/kubectl \
    --server="https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT" \
    --certificate-authority="$identity/ca.crt" --token="$(cat "$identity/token")"
}

nodes='{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}'
while true; do
  if listed=$(get_nodes "$nodes"); then
    while read -r name range address; do
      if [ -z "${address:-}" ]; then
        continue
      elif [ "$name" = "$NODE" ]; then
        write_configuration "$range"
      elif [ "${via[$range]:-}" != "$address" ] && ip route replace "$range" via "$address"; then
        via[$range]=$address
        echo "pods of $name, in $range, are reached by $address"
      fi
    done <<< "$listed"
  fi
  sleep 1
done
