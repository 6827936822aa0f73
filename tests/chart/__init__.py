"""Tests of the chart with real tools: `make chart-test`.

`make test` leaves these out: they need Node.js, npm, Go and promtool, and fetch helm if it is
missing.

    rendering     helm and values → manifests
    restricted    a pod → what Pod Security's profile "restricted" has against it
    helm-docs     values.yaml and README.md.gotmpl → the chart's README; `make chart-docs`
    promql        an expression → the metrics and labels that it asks for
    alerts/       what Prometheus would see, and which alerts that fires; for promtool
    tools.*       validators with dependencies of their own, locked apart from ours
"""
