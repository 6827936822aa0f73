# Commands for development; `make` lists them. They install what they need into this folder by
# themselves: .venv has the run-time packages, and the test tools once a target needs them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
SOURCES := service simulator tests bench examples

# Tools have an environment of their own, so that they don't hold the service's pins back; checkov
# has one of its own again, because it pins what the other tools need in newer versions.
TOOLS := .venv-tools/.ready
CHART := .venv-chart/.ready
NODE := tests/node_modules
NODE_EXAMPLE := examples/typescript/node_modules
KOTLIN := .kotlin/.ready

# The tests wait more than they compute: more processes than cores.
WORKERS ?= 4

# Rigs run in the order of their files: some tests depend on earlier ones, or take minutes.
RIG := $(BIN)/python -m pytest -p no:randomly -o faulthandler_timeout=0

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Every day (needs Python 3.11 or newer)
.PHONY: run test check format install clean
run: $(RUN) ## Run the service and a playground, with a simulator of Spotify unless credentials are set
	@$(BIN)/python -m simulator.demo
test: $(DEV) ## Run all tests, with coverage of service/; T=tests/test_forms.py runs a part
	@$(BIN)/pytest -qq --numprocesses=$(WORKERS) --dist=worksteal \
		$(or $(T),--cov --cov-report= --cov-fail-under=0)
check: $(DEV) ## Check style, formatting, types, shell, YAML and workflows
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	.ci/lint
	$(BIN)/mypy $(SOURCES)
format: $(DEV) ## Format, and fix lint errors
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
install: $(DEV) ## Set up .venv with everything that the targets above need
clean: ## Remove generated files
	rm -rf $(VENV) .venv-system .venv-tools .venv-chart .kotlin $(NODE) $(NODE_EXAMPLE) examples/typescript/dist \
		bench/.cache bench/peers/node_modules dist tests/examples/libraries/rust/Cargo.lock \
		.browser .chaos .coverage .coverage.* .fuzz .hypothesis .mypy_cache .pytest_cache \
		.repeat*.log .ruff_cache .schemathesis

##@ With real tools (tests/README.md lists what each proves and requires)
.PHONY: browser-test screenshots storage-test chart-test chart-docs examples-test image image-test
browser-test: $(TOOLS) $(NODE) ## Test the pages in Chromium; BROWSER="-k login" runs a part
	.venv-tools/bin/mypy tests/browser
	.venv-tools/bin/python -m pytest -p no:randomly tests/browser $(BROWSER)
screenshots: $(TOOLS) ## Take the README's pictures of the playground
	.venv-tools/bin/python -m pytest tests/browser/test_pictures.py -k picture_of
	cp .browser/playground-login.png .browser/playground-error.png docs/images
storage-test: $(DEV) ## Test the shared rate limit with Redis or Valkey
	$(RIG) -m storage
chart-test: $(DEV) $(CHART) $(NODE) ## Check the chart: schemas, policy, alerts
	$(RIG) tests/chart
chart-docs: ## Generate the chart's README from its values
	tests/chart/helm-docs
examples-test: $(DEV) $(TOOLS) $(KOTLIN) $(NODE) $(NODE_EXAMPLE) ## Test the examples and client libraries
	cd examples/typescript && npm run --silent build
	$(RIG) tests/examples
image: ## Build the image, with Docker or buildah (IMAGE, PYTHON_IMAGE, PYTHON_DIGEST)
	tests/image/build
image-test: $(DEV) ## Build the image, run it without privileges, exchange a token in it
	tests/image/test
.PHONY: compose-test guides-test skaffold-test cluster e2e guides-cluster skaffold-dev
compose-test: $(DEV) $(TOOLS) ## Follow docs/simulator.md in containers
	tests/compose/test
guides-test: $(DEV) $(TOOLS) ## Run the guides' commands for Docker, and for AWS with its CLI
	tests/guides/test
skaffold-test: $(DEV) $(CHART) ## Check skaffold.yaml and k8s/ with skaffold, without a cluster
	tests/skaffold/test
cluster: ## Make a cluster of one node; prints how to point kubectl at it
	@tests/cluster/up
e2e: ## Install, load, upgrade and remove the chart in the cluster of KUBECONFIG
	tests/e2e/run
guides-cluster: $(DEV) ## Run the guides' commands for a cluster in the one of KUBECONFIG
	tests/guides/cluster
skaffold-dev: $(DEV) ## Develop with skaffold in the cluster of KUBECONFIG, and clean up
	tests/skaffold/test dev
.PHONY: chaos fuzz fuzz-api bench
chaos: $(DEV) ## Test under faults and load; CHAOS=--short runs shorter
	$(RIG) -o python_files='chaos_*.py' tests/chaos $(CHAOS)
FUZZ_SECONDS ?= 90
fuzz: $(TOOLS) ## Fuzz for FUZZ_SECONDS in all; FUZZ names some of the fuzzers
	tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
fuzz-api: $(DEV) $(TOOLS) ## Call the API as its OpenAPI document allows, for FUZZ_SECONDS
	PATH="$(CURDIR)/.venv-tools/bin:$$PATH" $(BIN)/python -m tests.fuzz.api $(FUZZ_SECONDS)
bench: $(DEV) ## Measure CPU per request beside comparable servers
	$(BIN)/python -m bench $(BENCH)

##@ Release
.PHONY: lock repeat ci tools
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-strip-extras $(LOCK)
# Edited by hand: versions in package.json, pom.xml, go.mod and Cargo.toml, and the wheels in
# tests/tools/requirements.txt and tests/cluster/envoy.txt. Without --upgrade, a lock changes only
# where its manifest has changed. NOTE: no lock may name a registry.
NPM_LOCK = npm $(if $(filter --upgrade,$(LOCK)),update,install) --silent --package-lock-only \
	--omit-lockfile-registry-resolved
lock: $(DEV) ## Lock the Python, npm and Maven packages again; LOCK=--upgrade updates Python's and npm's
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml -o requirements-dev.txt --group dev -c requirements.txt
	$(COMPILE) tests/tools.in -o tests/tools.txt -c requirements-dev.txt
	$(COMPILE) tests/chart/tools.in -o tests/chart/tools.txt
	set -e; for folder in tests examples/typescript bench/peers; do (cd $$folder && $(NPM_LOCK)); done
	$(JARS)
	cd .kotlin && sha256sum *.jar >../tests/examples/kotlin/jars.sha256
repeat: $(DEV) ## Run `make test` 20 times on a busy machine; the log is .repeat.log
	.ci/repeat 20
ci: ## Run all checks, as .ci/run does
	.ci/run

tools: $(DEV) $(TOOLS) $(CHART) $(KOTLIN) $(NODE) $(NODE_EXAMPLE) ## Install the packages of all tests

define INSTALL
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
@echo "Installing the packages of $^ into $(@D) ..."
@$(PYTHON) -m venv $(@D)
@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	$(addprefix -r ,$^)
@touch $@
endef
$(RUN): requirements.txt
	$(INSTALL)
$(DEV): requirements-dev.txt
	$(INSTALL)
	@touch $(RUN)
$(TOOLS): requirements-dev.txt tests/tools.txt
	$(INSTALL)
$(CHART): tests/chart/tools.txt
	$(INSTALL)
$(NODE) $(NODE_EXAMPLE): %/node_modules: %/package-lock.json
	cd $* && npm ci --silent --no-audit --no-fund
	@touch $@
JARS = rm -rf .kotlin && mvn --quiet --batch-mode --file tests/examples/kotlin/pom.xml \
	org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
	-DoutputDirectory=$(CURDIR)/.kotlin
$(KOTLIN): tests/examples/kotlin/pom.xml tests/examples/kotlin/jars.sha256
	$(JARS)
	cd .kotlin && sha256sum --check --quiet ../tests/examples/kotlin/jars.sha256
	@touch $@
