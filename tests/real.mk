# What is tried with real tools: containers, a cluster. Each target says what it lacks.
.PHONY: image image-test cluster e2e storage-test
image: ## Build the image, with Docker or buildah (IMAGE, PYTHON_IMAGE)
	tests/image/build
image-test: $(READY) ## Build the image, run it without any rights, swap a token in it
	tests/image/test
cluster: ## Make a cluster of one node, with kind or without; prints how to point kubectl at it
	@tests/cluster/up
e2e: ## Take the chart through its life in the cluster of KUBECONFIG
	tests/e2e/run
storage-test: $(READY) ## Run the tests of a shared rate limit (needs redis-server or valkey-server)
	$(BIN)/python -m pytest -m storage
