// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// release is the set of binaries under test.
var release struct {
	dir     string
	real    bool
	vanilla string
	// etcd is the program; ZooKeeper is the classes of Debian's package.
	etcd string
}

// concurrency is how many tests run at once unless -parallel says otherwise. The tests wait far more than they
// compute, so a machine of two cores carries more of them than the two that the default would run.
const concurrency = 8

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	vanilla, err := exec.LookPath("redis-server")
	if err != nil {
		fmt.Fprintln(os.Stderr, "contract: redis-server is missing: apt-get install redis-server")
		return 1
	}
	release.vanilla = vanilla
	servers, err := os.MkdirTemp("", "coordinators")
	if err != nil {
		fmt.Fprintln(os.Stderr, "contract:", err)
		return 1
	}
	defer os.RemoveAll(servers)
	release.etcd = filepath.Join(servers, "etcd")
	if out, err := exec.Command("../../hack/etcd.sh", servers).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "contract: etcd.sh: %v\n%s", err, out)
		return 1
	}
	if dir := os.Getenv("CODIS_RELEASE"); dir != "" {
		release.dir, release.real = dir, true
	} else {
		dir, err := os.MkdirTemp("", "codis-standin")
		if err != nil {
			fmt.Fprintln(os.Stderr, "contract:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := buildStandin(dir); err != nil {
			fmt.Fprintln(os.Stderr, "contract:", err)
			return 1
		}
		release.dir = dir
	}
	if err := checkRelease(); err != nil {
		fmt.Fprintln(os.Stderr, "contract:", err)
		return 1
	}
	if !flagGiven("test.parallel") {
		if err := flag.Set("test.parallel", fmt.Sprint(concurrency)); err != nil {
			fmt.Fprintln(os.Stderr, "contract:", err)
			return 1
		}
	}
	return m.Run()
}

func flagGiven(name string) bool {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

func checkRelease() error {
	for _, name := range []string{"codis-dashboard", "codis-proxy", "codis-fe", "codis-server", "redis-sentinel"} {
		if _, err := exec.LookPath(filepath.Join(release.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// buildStandin builds the stand-in's programs and the module of its codis-server, as images get them.
func buildStandin(dir string) error {
	if out, err := exec.Command("../../hack/standin.sh", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("standin.sh: %w\n%s", err, out)
	}
	return nil
}

func binary(name string) string { return filepath.Join(release.dir, name) }
