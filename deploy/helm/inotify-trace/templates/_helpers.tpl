{{- define "inotify-trace.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "inotify-trace.selector" -}}
app.kubernetes.io/name: inotify-trace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "inotify-trace.labels" -}}
{{ include "inotify-trace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "inotify-trace.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ include "inotify-trace.fullname" . }}{{- else -}}default{{- end -}}
{{- end -}}

{{- define "inotify-trace.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}
