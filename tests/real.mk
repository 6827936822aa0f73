# What is tried with real tools: containers, a cluster. Each target says what it lacks.
.PHONY: image image-test chart-test chart-docs cluster e2e storage-test skaffold-test skaffold-dev
.PHONY: guides-test guides-cluster guides-lock
image: ## Build the image, with Docker or buildah (IMAGE, PYTHON_VERSION, PYTHON_IMAGE)
	tests/image/build
image-test: $(READY) ## Build the image, run it without any rights, swap a token in it
	tests/image/test
# The chart's validators have a place of their own: their pins would hold the service's back.
CHART_VENV := .venv-chart
CRDS := tests/chart/crds
$(CHART_VENV)/.ready: tests/chart/tools.txt
	$(PYTHON) -m venv $(CHART_VENV)
	$(CHART_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
$(CRDS)/node_modules: $(CRDS)/package-lock.json
	cd $(CRDS) && npm ci --silent --no-audit --no-fund
	@touch $@
chart-test: $(READY) $(CHART_VENV)/.ready $(CRDS)/node_modules ## Check the chart (needs Node.js and promtool)
	$(BIN)/python -m pytest tests/chart
chart-docs: $(READY) ## Write the table of values into the chart's README
	$(BIN)/python -m tests.chart.readme
cluster: ## Make a cluster of one node, with kind or without; prints how to point kubectl at it
	@tests/cluster/up
e2e: ## Take the chart through its life in the cluster of KUBECONFIG
	tests/e2e/run
storage-test: $(READY) ## Run the tests of a shared rate limit (needs redis-server or valkey-server)
	$(BIN)/python -m pytest -m storage
skaffold-test: $(READY) $(CHART_VENV)/.ready ## Hold skaffold.yaml and k8s/ against skaffold, without a cluster
	tests/skaffold/test
skaffold-dev: $(READY) ## Let skaffold develop in the cluster of KUBECONFIG, and take it down again
	tests/skaffold/test dev
GUIDES_VENV := .venv-guides
$(GUIDES_VENV)/.ready: tests/guides/tools.txt
	$(PYTHON) -m venv $(GUIDES_VENV)
	$(GUIDES_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
guides-test: $(READY) $(GUIDES_VENV)/.ready ## Run the guides' commands for Docker, and for AWS by its CLI
	tests/guides/test
guides-cluster: $(READY) ## Run the guides' commands for a cluster in the one of KUBECONFIG
	tests/guides/cluster
guides-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) tests/guides/tools.in -o tests/guides/tools.txt
lock: guides-lock
.PHONY: fuzz fuzz-api fuzz-lock
FUZZ_SECONDS ?= 90
fuzz: $(READY) ## Fuzz for FUZZ_SECONDS in all; FUZZ names some of the fuzzers
	tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
SCHEMATHESIS := .fuzz/schemathesis
$(SCHEMATHESIS)/.ready: tests/fuzz/schemathesis.txt
	$(PYTHON) -m venv $(SCHEMATHESIS)
	$(SCHEMATHESIS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
fuzz-api: $(READY) $(SCHEMATHESIS)/.ready
	PATH="$(SCHEMATHESIS)/bin:$$PATH" $(BIN)/python -m tests.fuzz.api $(FUZZ_SECONDS)
fuzz-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) tests/fuzz/atheris.in -o tests/fuzz/atheris.txt
	$(COMPILE) tests/fuzz/schemathesis.in -o tests/fuzz/schemathesis.txt
lock: fuzz-lock
.PHONY: browser-test browser-lock browser-clean screenshots
# Chromium's driver is large: it has a place of its own, with all of .venv beside it.
BROWSER_VENV := .venv-browser
BROWSER_NPM := tests/browser/npm
$(BROWSER_VENV)/.ready: requirements-dev.txt tests/browser/tools.txt
	$(PYTHON) -m venv $(BROWSER_VENV)
	$(BROWSER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		$(addprefix -r ,$^)
	@touch $@
$(BROWSER_NPM)/node_modules: $(BROWSER_NPM)/package-lock.json
	cd $(BROWSER_NPM) && npm ci --silent --no-audit --no-fund
	@touch $@
browser-test: $(BROWSER_VENV)/.ready $(BROWSER_NPM)/node_modules ## Test the pages in Chromium (needs it and Node.js)
	$(BROWSER_VENV)/bin/mypy tests/browser
	$(BROWSER_VENV)/bin/python -m pytest tests/browser $(BROWSER)
screenshots: $(BROWSER_VENV)/.ready ## Take the README's pictures of the page anew
	$(BROWSER_VENV)/bin/python -m pytest tests/browser/test_pictures.py -k "light or dark"
	cp .browser/try-tokens.png .browser/try-error.png docs/images
browser-lock: $(READY)
	@$(BIN)/python -m pip install --quiet uv
	$(COMPILE) tests/browser/tools.in -o tests/browser/tools.txt -c requirements-dev.txt
	cd $(BROWSER_NPM) && npm install --silent --package-lock-only --omit-lockfile-registry-resolved
browser-clean:
	rm -rf $(BROWSER_VENV) $(BROWSER_NPM)/node_modules .browser
lock: browser-lock
clean: browser-clean
.PHONY: compose-test compose-lock compose-clean
COMPOSE_VENV := .venv-compose
$(COMPOSE_VENV)/.ready: tests/compose/tools.txt
	$(PYTHON) -m venv $(COMPOSE_VENV)
	$(COMPOSE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
compose-test: $(READY) $(COMPOSE_VENV)/.ready ## Do what docs/simulator.md says, in containers
	tests/compose/test
compose-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) tests/compose/tools.in -o tests/compose/tools.txt
lock: compose-lock
compose-clean:
	rm -rf $(COMPOSE_VENV)
clean: compose-clean
