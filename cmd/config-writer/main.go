// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command config-writer runs as an init container: it joins the template of a
// configuration with passwords from mounted Secrets into the file that a Codis
// process reads, so that no password is in a ConfigMap, a flag or the environment.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/codis-io/codis-operator/internal/config"
)

// secrets collects --secret=setting=file.
type secrets map[string]string

// String implements flag.Value.
func (s secrets) String() string { return fmt.Sprint(len(s)) }

// Set implements flag.Value.
func (s secrets) Set(value string) error {
	setting, file, found := strings.Cut(value, "=")
	if !found {
		return fmt.Errorf("want setting=file")
	}
	s[setting] = file
	return nil
}

func main() {
	files := secrets{}
	format := flag.String("format", "", "Format of the file: toml or redis.")
	template := flag.String("template", "", "File to start from.")
	out := flag.String("out", "", "File to write.")
	flag.Var(files, "secret", "setting=file whose content is the value of the setting; may be repeated.")
	flag.Parse()
	if err := write(config.Format(*format), *template, *out, files); err != nil {
		fmt.Fprintln(os.Stderr, "config-writer:", err)
		os.Exit(1)
	}
}

func write(format config.Format, template, out string, files secrets) error {
	text, err := os.ReadFile(template) //nolint:gosec // The operator chose the path.
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for setting, file := range files {
		value, err := os.ReadFile(file) //nolint:gosec // The operator chose the path.
		if err != nil {
			return err
		}
		settings[setting] = strings.TrimRight(string(value), "\r\n")
	}
	result, err := config.WithSettings(format, string(text), settings)
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(result), 0o600) //nolint:gosec // The operator chose the path.
}
