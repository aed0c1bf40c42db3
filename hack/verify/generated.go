// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// generatedPaths are written by `make generate` and by nobody else.
func generatedPaths() []string {
	return []string{
		"apis/v1alpha1/zz_generated.deepcopy.go",
		"config/crd/bases",
		"config/rbac/role.yaml",
		"config/webhook/manifests.yaml",
		"deploy/manager/deployment-dev.yml",
		"docs/api.md",
	}
}

// generatedFiles asks git whether generating changed or added anything.
func generatedFiles(ctx context.Context, t tree) error {
	args := append([]string{"status", "--porcelain", "--untracked-files=all", "--"}, generatedPaths()...)
	changed, err := output(ctx, t.root, "git", args...)
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("these differ from what is committed:\n%s", changed)
	}
	return nil
}

// heavyModules have a dependency graph so large that tidying it takes minutes;
// they only build tools and their builds are tested by using them.
func heavyModules() []string { return []string{"hack/localkube/tools"} }

func tidyModules(ctx context.Context, t tree) error {
	var errs []error
	for _, file := range t.files {
		dir := path.Dir(file)
		if path.Base(file) != "go.mod" || contains(heavyModules(), dir) {
			continue
		}
		if _, err := output(ctx, t.path(dir), "go", "mod", "tidy", "-diff"); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
		}
	}
	return errors.Join(errs...)
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s || strings.HasPrefix(s, item+"/") {
			return true
		}
	}
	return false
}

// maxCRDSize keeps a CRD within the annotation in which kubectl apply stores it.
const maxCRDSize = 200 * 1000

func crdSizes(_ context.Context, t tree) error {
	var errs []error
	seen := 0
	for _, file := range t.files {
		if !strings.HasPrefix(file, "config/crd/bases/") {
			continue
		}
		seen++
		info, err := os.Stat(t.path(file))
		if err == nil && info.Size() >= maxCRDSize {
			err = fmt.Errorf("%s has %d bytes; it must stay below %d", file, info.Size(), maxCRDSize)
		}
		errs = append(errs, err)
	}
	if seen == 0 {
		errs = append(errs, errors.New("there is no CRD in config/crd/bases"))
	}
	return errors.Join(errs...)
}
