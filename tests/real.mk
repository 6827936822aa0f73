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
# The examples; the lines that /try and docs/apps.md show; client libraries of others, which have places
# of their own as the validators do.
.PHONY: examples-test examples-lock examples-clean apps-docs
SOURCES += examples
LIBRARIES := .venv-libraries
KOTLIN := .kotlin
PACKAGES := examples/typescript/node_modules tests/examples/libraries/node_modules
$(LIBRARIES)/.ready: tests/examples/libraries/requirements.txt
	$(PYTHON) -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
JARS = rm -rf $(KOTLIN) && mvn --quiet --batch-mode --file tests/examples/kotlin/pom.xml \
	org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
	-DoutputDirectory=$(CURDIR)/$(KOTLIN)
$(KOTLIN)/.ready: tests/examples/kotlin/pom.xml tests/examples/kotlin/jars.sha256
	$(JARS)
	cd $(KOTLIN) && sha256sum --check --quiet ../tests/examples/kotlin/jars.sha256
	@touch $@
$(PACKAGES): %/node_modules: %/package-lock.json
	cd $* && npm ci --silent --no-audit --no-fund
	@touch $@
examples-test: $(READY) $(LIBRARIES)/.ready $(KOTLIN)/.ready $(PACKAGES) ## Test examples, snippets, other clients (needs Node.js, Maven, Chromium, Swift or root)
	cd examples/typescript && npm run --silent build
	$(BIN)/python -m pytest tests/examples
apps-docs: $(READY) ## Write the lines that /try shows into docs/apps.md (needs Node.js)
	$(BIN)/python -m tests.examples.documented
examples-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) tests/examples/libraries/requirements.in -o tests/examples/libraries/requirements.txt
	$(JARS)
	cd $(KOTLIN) && sha256sum *.jar >../tests/examples/kotlin/jars.sha256
lock: examples-lock
examples-clean:
	rm -rf $(LIBRARIES) $(KOTLIN) $(PACKAGES) examples/typescript/dist
clean: examples-clean
.PHONY: compose-test compose-lock
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
