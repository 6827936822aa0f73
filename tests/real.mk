# What is tried with real tools: containers, a cluster. Each target says what it lacks.
.PHONY: image image-test cluster e2e storage-test chart-test chart-docs
image: ## Build the image, with Docker or buildah (IMAGE, PYTHON_IMAGE)
	tests/image/build
image-test: $(READY) ## Build the image, run it without any rights, swap a token in it
	tests/image/test
# What checks the chart keeps to itself: its pins would hold the service's dependencies back.
CHART_TOOLS := .venv-chart/.ready
CRDS := tests/chart/crds
$(CHART_TOOLS): tests/chart/tools.txt
	$(PYTHON) -m venv .venv-chart
	.venv-chart/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
$(CRDS)/node_modules: $(CRDS)/package-lock.json
	cd $(CRDS) && npm ci --silent --no-audit --no-fund
	@touch $@
chart-test: $(READY) $(CHART_TOOLS) $(CRDS)/node_modules ## Check the chart (needs Node.js and promtool)
	$(BIN)/python -m pytest tests/chart
chart-docs: $(READY) ## Write the table of values into the chart's README
	$(BIN)/python -m tests.chart.readme
cluster: ## Make a cluster of one node, with kind or without; prints how to point kubectl at it
	@tests/cluster/up
e2e: ## Take the chart through its life in the cluster of KUBECONFIG
	tests/e2e/run
storage-test: $(READY) ## Run the tests of a shared rate limit (needs redis-server or valkey-server)
	$(BIN)/python -m pytest -m storage
