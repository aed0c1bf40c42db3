// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// buildFlags are the same for every tool, so that what they share is compiled once.
func buildFlags() []string {
	const version = "-X k8s.io/component-base/version."
	return []string{"-buildvcs=false", "-mod=readonly", "-ldflags=-s -w " +
		version + "gitVersion=" + kubernetesVersion + " " + version + "gitMajor=1 " + version + "gitMinor=37 " +
		version + "gitTreeState=clean"}
}

const kubernetesVersion = "v1.37.2"

// tool is one program built from the tools module, and the names it answers to.
type tool struct {
	dir   string
	names []string
}

func tools() []tool {
	return []tool{
		{"kubernetes", []string{
			"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet",
			"kubectl",
		}},
		{"etcd", []string{"etcd"}},
		{"containerd", []string{"containerd", "ctr"}},
		{"shim", []string{"containerd-shim-runc-v2"}},
		{"coredns", []string{"coredns"}},
		{"metrics-server", []string{"metrics-server"}},
		{"provisioner", []string{"provisioner"}},
		{"pause", []string{"pause"}},
	}
}

// buildAll builds the tools which the cache lacks, or of them only those asked for, and returns a directory where each
// is found by every name it answers to.
func buildAll(ctx context.Context, p *progress, only ...string) (string, error) {
	b, err := newBuilder(ctx)
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(b.cache, "build.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()

	wanted := selectTools(only)
	missing, err := b.missing(wanted)
	if err != nil {
		return "", err
	}
	if len(missing) > 0 {
		if err := b.build(ctx, p, missing); err != nil {
			return "", err
		}
	}
	return b.assemble(wanted)
}

func selectTools(only []string) []tool {
	var selected []tool
	for _, t := range tools() {
		if len(only) == 0 || strings.Contains(","+strings.Join(only, ",")+",", ","+t.dir+",") {
			selected = append(selected, t)
		}
	}
	return selected
}

type builder struct {
	source, cache, goVersion string
}

func newBuilder(ctx context.Context) (*builder, error) {
	source, err := toolsDir()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOARCH").Output()
	if err != nil {
		return nil, fmt.Errorf("needs Go in PATH: %w", err)
	}
	return &builder{source, cache, strings.Join(strings.Fields(string(out)), "/")}, os.MkdirAll(cache, 0o755)
}

// cacheDir is outside the tree, so that cleaning the tree does not cost ten minutes.
func cacheDir() (string, error) {
	if dir := os.Getenv("LOCALKUBE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "codis-operator", "localkube"), err
}

// toolsDir finds the tools module from anywhere within the repository.
func toolsDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		candidate := filepath.Join(dir, "hack", "localkube", "tools")
		if _, err := os.Stat(filepath.Join(candidate, "go.mod")); err == nil {
			return candidate, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("must run within the operator's repository: no hack/localkube/tools above here")
		}
		dir = parent
	}
}

// build makes one go command compile all that is missing: it keeps every core busy through the long links.
func (b *builder) build(ctx context.Context, p *progress, missing []tool) error {
	var names []string
	for _, t := range missing {
		names = append(names, t.dir)
	}
	p.step("building %s (Kubernetes %s; the first time takes about 10 minutes on 2 cores)",
		strings.Join(names, ", "), kubernetesVersion)
	partial, err := os.MkdirTemp(b.cache, ".build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	if err := b.compile(ctx, p, partial, names); err != nil {
		return err
	}
	for _, t := range missing {
		if err := b.keep(filepath.Join(partial, t.dir), t); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) compile(ctx context.Context, p *progress, output string, names []string) error {
	args := append([]string{"build", "-v", "-o", output + "/"}, buildFlags()...)
	for _, name := range names {
		args = append(args, "./"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=linux")
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var compiled compileLog
	stop := p.heartbeat(ctx, 20*time.Second, compiled.String)
	compiled.read(said)
	err = cmd.Wait()
	stop()
	if err != nil {
		return fmt.Errorf("go build: %w: %s", err, lastLines(strings.Join(compiled.recent, "\n"), 5))
	}
	return nil
}

// compileLog follows the packages which go build -v names.
type compileLog struct {
	mutex  sync.Mutex
	count  int
	recent []string
}

func (l *compileLog) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		l.mutex.Lock()
		l.count++
		l.recent = append(l.recent[max(0, len(l.recent)-9):], lines.Text())
		l.mutex.Unlock()
	}
}

func (l *compileLog) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.count == 0 {
		return "still building: no package compiled yet"
	}
	return fmt.Sprintf("still building: %d packages and downloads done, last %s", l.count, l.recent[len(l.recent)-1])
}
