# What is tried with real tools: containers, a cluster. Each target says what it lacks.
.PHONY: image image-test cluster e2e
image: ## Build the image, with Docker or buildah (IMAGE, PYTHON_IMAGE)
	tests/image/build
image-test: $(READY) ## Build the image, run it without any rights, swap a token in it
	tests/image/test
cluster: ## Make a cluster of one node, with kind or without; prints how to point kubectl at it
	@tests/cluster/up
e2e: ## Take the chart through its life in the cluster of KUBECONFIG
	tests/e2e/run
.PHONY: fuzz fuzz-lock
FUZZ_SECONDS ?= 90
fuzz: $(READY) ## Fuzz for FUZZ_SECONDS in all; FUZZ names some of the fuzzers
	tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
FUZZ_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header $(LOCK)
fuzz-lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(FUZZ_COMPILE) tests/fuzz/requirements.in -o tests/fuzz/requirements.txt
lock: fuzz-lock
