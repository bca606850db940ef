{{- define "spout.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "spout.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spout.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "spout.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "spout.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "spout.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "spout.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "spout.tokenSecret" -}}
{{- with .Values.joinToken -}}
{{- if and .secret .value }}{{ fail "joinToken: give the name of a secret that is there, or a value of which the chart makes one, not both" }}{{ end -}}
{{- if not (or .secret .value) }}{{ fail "joinToken: give the name of a secret that is there (joinToken.secret), or a value of which the chart makes one (joinToken.value)" }}{{ end -}}
{{- .secret | default (printf "%s-join-token" (include "spout.name" $)) }}
{{- end -}}
{{- end }}

{{- define "spout.tlsSecret" -}}
{{- with .Values.tls -}}
{{- if and .secret .certManager.issuer }}{{ fail "tls: give the name of a secret that is there, or an issuer of cert-manager, not both" }}{{ end -}}
{{- if not (or .secret .certManager.issuer) }}{{ fail "tls: give the name of a secret that is there (tls.secret), or an issuer of cert-manager (tls.certManager.issuer)" }}{{ end -}}
{{- .secret | default (printf "%s-tls" (include "spout.name" $)) }}
{{- end -}}
{{- end }}
