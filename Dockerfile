# SPDX-FileCopyrightText: The Codis operator authors
# SPDX-License-Identifier: Apache-2.0
#
# The image of the operator: its binaries, nothing else.
#   docker buildx build --platform linux/amd64,linux/arm64 -t REPOSITORY/codis-operator:TAG .
FROM --platform=$BUILDPLATFORM golang:1.26 AS builder
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev

WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download

COPY apis/ apis/
COPY cmd/ cmd/
COPY controllers/ controllers/
COPY internal/ internal/
COPY webhooks/ webhooks/
ENV CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} GOFLAGS=-trimpath
RUN go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/manager ./cmd \
    && go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/config-writer ./cmd/config-writer \
    && go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/member-gate ./cmd/member-gate \
    && go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/dashboard-keeper ./cmd/dashboard-keeper

FROM gcr.io/distroless/static:nonroot
COPY --from=builder /out/manager /out/config-writer /out/member-gate /out/dashboard-keeper /
USER 65532:65532
ENTRYPOINT ["/manager"]
