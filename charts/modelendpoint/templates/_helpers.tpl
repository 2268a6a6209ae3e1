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
