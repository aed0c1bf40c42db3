# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0

SHELL := /usr/bin/env bash
.SHELLFLAGS := -o errexit -o nounset -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What a build calls itself.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Where clusters run: localkube (this machine, no Docker), kind, or current (the
# one that kubectl talks to).
CLUSTER ?= localkube
CLUSTER_NAME ?= demo
NODES ?= 3
# A directory with the binaries of a real Codis release. Empty: the stand-in.
CODIS_RELEASE ?=
export CLUSTER CLUSTER_NAME NODES CODIS_RELEASE

BIN := bin
TOOLS := $(BIN)/tools
IMAGES := $(BIN)/images
# All that is built and checked is built one way, and tests with the race detector
# another, so that what they share is compiled twice and not five times.
STATIC := CGO_ENABLED=0 GOFLAGS="$(strip $(GOFLAGS) -trimpath -buildvcs=false)"
GO_BUILD := $(STATIC) go build -ldflags "-s -w -X main.version=$(VERSION)"
INSTALL_MANIFEST := deploy/manager/deployment-dev.yml
CONTROLLER_GEN := $(TOOLS)/controller-gen
KUSTOMIZE := $(TOOLS)/kustomize
CRD_REF_DOCS := $(TOOLS)/crd-ref-docs
GOLANGCI_LINT := $(TOOLS)/golangci-lint
LOCALKUBE := $(BIN)/localkube
IMAGE := $(BIN)/image
TESTSUM := $(BIN)/testsum
VERIFY := $(BIN)/verify

comma := ,

# Suites that need more than Go: a cluster, or the programs of Codis.
SUITES := /test/(e2e$$|(chaos|contract)(/|$$))
# Tests that start a Kubernetes API server are those that import envtest.
list_tests = go list -e -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./...
ENVTEST := controller-runtime/pkg/envtest( |$$)

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET [CLUSTER=localkube|kind|current] [CODIS_RELEASE=DIR]" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Develop

.PHONY: generate
generate: $(CONTROLLER_GEN) $(KUSTOMIZE) $(CRD_REF_DOCS) ## Write all generated files: code, CRDs, roles, webhooks, manifests, docs/api.md
	rm -f config/crd/bases/*.yaml
	$(CONTROLLER_GEN) paths=./apis/... paths=./controllers/... paths=./webhooks/... \
		object:headerFile=hack/boilerplate.go.txt \
		crd output:crd:dir=config/crd/bases \
		rbac:roleName=codis-operator output:rbac:dir=config/rbac \
		webhook output:webhook:dir=config/webhook
	hack/manifest.sh $(KUSTOMIZE) config/dev > $(INSTALL_MANIFEST).new
	mv $(INSTALL_MANIFEST).new $(INSTALL_MANIFEST)
	$(CRD_REF_DOCS) --config hack/api-docs.yaml --source-path apis/v1alpha1 --renderer markdown \
		--output-path docs/api.md --log-level ERROR

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format Go code
	$(GOLANGCI_LINT) fmt

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Lint Go code and API conventions
	$(STATIC) $(GOLANGCI_LINT) run
	$(STATIC) $(GOLANGCI_LINT) run --config .golangci-kal.yml ./apis/...

.PHONY: tidy
tidy: ## Tidy every go.mod
	git ls-files '*go.mod' | xargs -n 1 dirname | while read -r dir; do (cd "$$dir" && go mod tidy); done

.PHONY: verify
verify: generate $(VERIFY) ## Check that generated files, modules, names and headers are as they should be
	$(VERIFY)

##@ Build

.PHONY: build
build: ## Build the programs of the operator into bin/
	$(GO_BUILD) -o $(BIN)/manager ./cmd
	$(GO_BUILD) -o $(BIN)/config-writer ./cmd/config-writer
	$(GO_BUILD) -o $(BIN)/member-gate ./cmd/member-gate
	$(GO_BUILD) -o $(BIN)/dashboard-keeper ./cmd/dashboard-keeper

.PHONY: images
images: deps ## Build the images as docker-archives into bin/images, without Docker
	VERSION=$(VERSION) hack/images.sh

.PHONY: docker-build
docker-build: ## Build the operator's image with Docker, for linux/amd64 and linux/arm64 (IMG=..., PUSH=1 pushes it)
	docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=$(VERSION) \
		$(if $(PUSH),--push) --tag $(or $(IMG),codis-operator:$(VERSION)) .

.PHONY: clean
clean: ## Remove what was built here
	rm -rf $(BIN) .cache

##@ Test

.PHONY: test
test: deps $(TESTSUM) ## Run all checks and tests and sum them up; sets up all it needs
	$(TESTSUM) stages verify unit test-env contract test-e2e+simulate+lint

.PHONY: unit
unit: $(TESTSUM) ## Run the tests that need nothing but Go (and gcc for the race detector)
	packages=$$($(list_tests) | grep -vE '$(ENVTEST)' | cut -d' ' -f1 | grep -vE '$(SUITES)'); \
	$(TESTSUM) run unit -- go test -json -race -timeout 40m $$packages

.PHONY: simulate
simulate: $(TESTSUM) ## Run the simulator of failovers without the race detector (SIMULATE=-sim.count=1000000 for more)
	$(TESTSUM) run simulate -- go test -json -timeout 60m ./controllers/group -run TestSimulation $(SIMULATE)

.PHONY: test-env
test-env: $(TESTSUM) $(LOCALKUBE) ## Run the tests that need a Kubernetes API server; it is built if it is missing
	export KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(LOCALKUBE) binaries)}"; \
	packages=$$($(list_tests) | grep -E '$(ENVTEST)' | cut -d' ' -f1 | grep -vE '$(SUITES)'); \
	$(TESTSUM) run test-env -- go test -json -race $$packages

.PHONY: contract
contract: deps $(TESTSUM) ## Hold the stand-in (or CODIS_RELEASE) to what real Codis does
	$(TESTSUM) run contract -- env $(STATIC) go test -json -timeout 30m ./test/contract/...

.PHONY: test-e2e
test-e2e: export CLUSTER_NAME := e2e
test-e2e: deps $(TESTSUM) ## Run the user stories in a cluster of their own (KEEP=1 leaves it up)
	hack/e2e.sh $(TESTSUM) run test-e2e -- env $(STATIC) go test -json -timeout 50m ./test/e2e \
		-ginkgo.label-filter='!interrupted'

.PHONY: test-e2e-interrupted
test-e2e-interrupted: export CLUSTER_NAME := e2e
test-e2e-interrupted: deps $(TESTSUM) ## Run the story of growing and shrinking while everything is killed (10 minutes)
	hack/e2e.sh $(TESTSUM) run test-e2e -- env $(STATIC) go test -json -timeout 50m ./test/e2e \
		-ginkgo.label-filter=interrupted

.PHONY: deps
deps: ## Install the Debian packages that tests need, where they are missing
	hack/deps.sh

##@ Run

.PHONY: cluster-up
cluster-up: ## Start a cluster (CLUSTER, CLUSTER_NAME, NODES)
	hack/cluster.sh up

.PHONY: cluster-down
cluster-down: ## Remove the cluster
	hack/cluster.sh down

.PHONY: load-images
load-images: images ## Bring the images to the nodes of the cluster
	hack/cluster.sh load $(IMAGES)/*.tar

.PHONY: install
install: ## Install the operator into the cluster
	hack/cluster.sh kubectl create -f $(INSTALL_MANIFEST)

.PHONY: uninstall
uninstall: ## Remove the operator and every Codis object from the cluster
	hack/cluster.sh kubectl delete --ignore-not-found codisclusters,codisproxies,codisgroups,codisdashboards,codiscoordinators \
		--all --all-namespaces --timeout=5m
	hack/cluster.sh kubectl delete --ignore-not-found -f $(INSTALL_MANIFEST)

.PHONY: demo
demo: deps ## Show everything on this machine: cluster, operator, a CodisCluster, data
	hack/demo/demo.sh

.PHONY: demo-down
demo-down: ## Remove the demo's cluster
	hack/cluster.sh down

.PHONY: bench-ready
bench-ready: export CLUSTER_NAME := bench
bench-ready: deps ## Measure the time from creation to Ready of 2 groups of 2 with 2 proxies (COUNT trials)
	hack/e2e.sh go run ./test/bench/ready -count $(or $(COUNT),10)

.PHONY: bench-failover
bench-failover: export CLUSTER_NAME := bench-failover
bench-failover: deps ## Measure what clients feel when FAULT strikes (crash, replica, ...; COUNT trials)
	hack/e2e.sh go run ./test/bench/failover -fault $(or $(FAULT),crash) -count $(or $(COUNT),10) $(BENCH_FLAGS)

.PHONY: bench-dashboard
bench-dashboard: export CLUSTER_NAME := bench-dashboard
bench-dashboard: deps ## Measure how long a dashboard is of no use that FAULT struck, kept by a COORDINATOR (COUNT trials of each)
	hack/e2e.sh go run ./test/bench/failover -coordinator $(or $(COORDINATOR),Etcd) -count $(or $(COUNT),20) \
		-fault $(or $(FAULT),dashboard$(comma)dashboard-hung$(comma)dashboard-container$(comma)dashboard-pod$(comma)dashboard-cut) $(BENCH_FLAGS)

.PHONY: bench-migration
bench-migration: export CLUSTER_NAME := bench-migration
bench-migration: deps ## Measure the speed of moves of slots beside Codis's own rebalance (COUNT trials of each)
	hack/e2e.sh go run ./test/bench/migration -count $(or $(COUNT),5) $(BENCH_FLAGS)

# Tools are built once for each version that hack/tools pins.
$(CONTROLLER_GEN): TOOL := sigs.k8s.io/controller-tools/cmd/controller-gen
$(KUSTOMIZE): TOOL := sigs.k8s.io/kustomize/kustomize/v5
$(CRD_REF_DOCS): TOOL := github.com/elastic/crd-ref-docs
$(CONTROLLER_GEN) $(KUSTOMIZE) $(CRD_REF_DOCS): hack/tools/go.mod hack/tools/go.sum
	cd hack/tools && $(STATIC) go build -o ../../$@ $(TOOL)

# golangci-lint with kube-api-linter inside.
$(GOLANGCI_LINT): hack/tools/golangci/go.mod hack/tools/golangci/go.sum
	@echo "building golangci-lint; this takes minutes the first time"
	cd hack/tools/golangci && $(STATIC) go build -o ../../../$@ \
		sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter

# Programs of this repository are built each time; the go command knows what is
# unchanged.
.PHONY: FORCE
FORCE:
$(LOCALKUBE) $(IMAGE) $(TESTSUM) $(VERIFY): $(BIN)/%: FORCE
	@$(STATIC) go build -o $@ ./hack/$*
