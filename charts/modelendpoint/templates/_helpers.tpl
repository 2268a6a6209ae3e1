{{- define "modelendpoint.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* The name of the operator's own objects. */}}
{{- define "modelendpoint.operator" -}}
{{ include "modelendpoint.fullname" . }}-operator
{{- end }}

{{- define "modelendpoint.selectorLabels" -}}
app.kubernetes.io/name: modelendpoint-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "modelendpoint.labels" -}}
{{ include "modelendpoint.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: modelendpoint
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "modelendpoint.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "modelendpoint.operator" .) }}
{{- end }}

{{/* The full name of an image: a list of the image's values and the chart's appVersion. */}}
{{- define "modelendpoint.image" -}}
{{- $image := index . 0 -}}
{{- $suffix := printf ":%s" (default (index . 1) $image.tag) -}}
{{- if $image.digest }}{{ $suffix = printf "@%s" $image.digest }}{{ end -}}
{{ $image.registry }}/{{ $image.repository }}{{ $suffix }}
{{- end }}

{{/* What the operator may do to endpoints and their children; the same in a Role and in a ClusterRole. */}}
{{- define "modelendpoint.rules" -}}
- apiGroups: [modelendpoint.dev]
  resources: [modelendpoints]
  verbs: [get, list, watch]
- apiGroups: [modelendpoint.dev]
  resources: [modelendpoints/status]
  verbs: [patch]
# To own children in a way that holds up their parent's deletion in the foreground (checked by OpenShift).
- apiGroups: [modelendpoint.dev]
  resources: [modelendpoints/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
