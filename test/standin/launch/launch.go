// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package launch builds the command lines of the stand-ins for codis-server, which is redis-server with the module in
// test/standin/server, and for redis-sentinel, which is redis-server in another mode.
package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ModuleName is the file name of the compiled module, which lies next to the launcher.
const ModuleName = "codis.so"

// Files are the two files a launch needs.
type Files struct {
	Redis, Module string
}

// Become turns the process into redis-server with the arguments of codis-server, keeping its process id. It does not
// return if it succeeds.
func Become(args []string) error {
	launcher, err := os.Executable()
	if err != nil {
		return err
	}
	files, err := Find(launcher)
	if err != nil {
		return err
	}
	return syscall.Exec(files.Redis, Argv(files, args), os.Environ())
}

// Find looks for redis-server and the module in the directory of the launcher, and for redis-server in PATH.
func Find(launcher string) (Files, error) {
	dir := filepath.Dir(launcher)
	f := Files{Redis: filepath.Join(dir, "redis-server"), Module: filepath.Join(dir, ModuleName)}
	if _, err := os.Stat(f.Redis); err == nil {
		return f, nil
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return f, err
	}
	f.Redis, err = filepath.Abs(path)
	return f, err
}

// Argv returns the command line of redis-server for one of codis-server: the same, and the module, unless it is loaded
// already, by the configuration file that CONFIG REWRITE wrote or by the caller. Redis ends if a module is loaded
// twice.
func Argv(f Files, args []string) []string {
	argv := append([]string{f.Redis}, args...)
	if wantsModule(args) {
		argv = append(argv, "--loadmodule", f.Module)
	}
	return argv
}

func wantsModule(args []string) bool {
	without := []string{
		"--sentinel", "--loadmodule", "--version", "-v", "--help", "-h", "--test-memory", "--check-system",
	}
	if slices.ContainsFunc(args, func(a string) bool { return slices.Contains(without, a) }) {
		return false
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return true
	}
	b, err := os.ReadFile(args[0])
	return err != nil || !loadsModule(string(b))
}

func loadsModule(config string) bool {
	for line := range strings.Lines(config) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.EqualFold(words[0], "loadmodule") {
			continue
		}
		if filepath.Base(strings.Trim(words[1], `"'`)) == ModuleName {
			return true
		}
	}
	return false
}
