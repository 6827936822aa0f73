# What is tried with real tools: containers, a cluster, a browser. Each target says what it lacks.

# Tools of Python's have places of their own, for their pins would hold the service's back, and so
# have packages of npm's.
TOOLS := .venv-browser .venv-chart .venv-compose .venv-guides .venv-libraries .fuzz/schemathesis
.venv-browser/.ready: requirements-dev.txt tests/browser/tools.txt
.venv-chart/.ready: tests/chart/tools.txt
.venv-compose/.ready: tests/compose/tools.txt
.venv-guides/.ready: tests/guides/tools.txt
.venv-libraries/.ready: tests/examples/libraries/requirements.txt
.fuzz/schemathesis/.ready: tests/fuzz/schemathesis.txt
$(TOOLS:=/.ready):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		$(addprefix -r ,$^)
	@touch $@
CRDS := tests/chart/crds/node_modules
PAGES := tests/browser/npm/node_modules
EXAMPLES := examples/typescript/node_modules tests/examples/libraries/node_modules
$(CRDS) $(PAGES) $(EXAMPLES): %/node_modules: %/package-lock.json
	cd $* && npm ci --silent --no-audit --no-fund
	@touch $@
KOTLIN := .kotlin
JARS = rm -rf $(KOTLIN) && mvn --quiet --batch-mode --file tests/examples/kotlin/pom.xml \
	org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
	-DoutputDirectory=$(CURDIR)/$(KOTLIN)
$(KOTLIN)/.ready: tests/examples/kotlin/pom.xml tests/examples/kotlin/jars.sha256
	$(JARS)
	cd $(KOTLIN) && sha256sum --check --quiet ../tests/examples/kotlin/jars.sha256
	@touch $@

.PHONY: image image-test chart-test chart-docs cluster e2e storage-test skaffold-test skaffold-dev
image: ## Build the image, with Docker or buildah (IMAGE, PYTHON_IMAGE, PYTHON_DIGEST)
	tests/image/build
image-test: $(READY) ## Build the image, run it without any rights, swap a token in it
	tests/image/test
chart-test: $(READY) .venv-chart/.ready $(CRDS) ## Check the chart (needs Node.js, Go and promtool)
	$(BIN)/python -m pytest tests/chart
chart-docs: ## Generate the chart's README from its values (needs Go)
	tests/chart/helm-docs
cluster: ## Make a cluster of one node, with kind or without; prints how to point kubectl at it
	@tests/cluster/up
e2e: ## Take the chart through its life in the cluster of KUBECONFIG
	tests/e2e/run
storage-test: $(READY) ## Run the tests of a shared rate limit (needs redis-server or valkey-server)
	$(BIN)/python -m pytest -m storage
skaffold-test: $(READY) .venv-chart/.ready ## Hold skaffold.yaml and k8s/ against skaffold, without a cluster
	tests/skaffold/test
skaffold-dev: $(READY) ## Let skaffold develop in the cluster of KUBECONFIG, and take it down again
	tests/skaffold/test dev

.PHONY: guides-test guides-cluster compose-test
guides-test: $(READY) .venv-guides/.ready ## Run the guides' commands for Docker, and for AWS by its CLI
	tests/guides/test
guides-cluster: $(READY) ## Run the guides' commands for a cluster in the one of KUBECONFIG
	tests/guides/cluster
compose-test: $(READY) .venv-compose/.ready ## Do what docs/simulator.md says, in containers
	tests/compose/test

.PHONY: browser-test screenshots examples-test
browser-test: .venv-browser/.ready $(PAGES) ## Test the pages in Chromium (needs it and Node.js)
	.venv-browser/bin/mypy tests/browser
	.venv-browser/bin/python -m pytest tests/browser $(BROWSER)
screenshots: .venv-browser/.ready ## Take the README's pictures of the playground
	.venv-browser/bin/python -m pytest tests/browser/test_pictures.py -k picture_of
	cp .browser/playground-login.png .browser/playground-error.png docs/images
SOURCES += examples
examples-test: $(READY) .venv-libraries/.ready $(KOTLIN)/.ready $(EXAMPLES) ## Test examples, snippets, client libraries (needs Node.js, Go, Rust, Maven, Chromium, Swift or root)
	cd examples/typescript && npm run --silent build
	$(BIN)/python -m pytest tests/examples

.PHONY: fuzz fuzz-api
FUZZ_SECONDS ?= 90
fuzz: $(READY) ## Fuzz for FUZZ_SECONDS in all; FUZZ names some of the fuzzers
	tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
fuzz-api: $(READY) .fuzz/schemathesis/.ready
	PATH="$(CURDIR)/.fuzz/schemathesis/bin:$$PATH" $(BIN)/python -m tests.fuzz.api $(FUZZ_SECONDS)

.PHONY: tools-lock tools-clean
tools-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) tests/browser/tools.in -o tests/browser/tools.txt -c requirements-dev.txt
	$(COMPILE) tests/chart/tools.in -o tests/chart/tools.txt
	$(COMPILE) tests/compose/tools.in -o tests/compose/tools.txt
	$(COMPILE) tests/examples/libraries/requirements.in -o tests/examples/libraries/requirements.txt
	$(COMPILE) tests/fuzz/atheris.in -o tests/fuzz/atheris.txt
	$(COMPILE) tests/fuzz/schemathesis.in -o tests/fuzz/schemathesis.txt
	$(COMPILE) tests/guides/tools.in -o tests/guides/tools.txt
	cd $(PAGES:/node_modules=) && npm install --silent --package-lock-only --omit-lockfile-registry-resolved
	$(JARS)
	cd $(KOTLIN) && sha256sum *.jar >../tests/examples/kotlin/jars.sha256
tools-clean:
	rm -rf $(TOOLS) $(CRDS) $(PAGES) $(EXAMPLES) $(KOTLIN) .browser examples/typescript/dist
lock: tools-lock
clean: tools-clean
