{{- /* What may be reached: names, the database. */ -}}
{{- define "onereel.egress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with .dns.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
- ports:
    - {protocol: TCP, port: {{ .database.port }}}
  {{- with .database.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- /* Upstreams, webhooks, object storage. */ -}}
{{- define "onereel.https" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        {{- with .except }}
        except: {{- toYaml . | nindent 10 }}
        {{- end }}
    - ipBlock: {cidr: "::/0"}
{{- end }}
