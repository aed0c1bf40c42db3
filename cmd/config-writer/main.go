// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command config-writer runs as an init container: it joins the template of a
// configuration with passwords from mounted Secrets into the file that a Codis
// process reads, so that no password is in a ConfigMap, a flag or the environment.
// The file of a sentinel gets the identity of its pod.
// For a dashboard whose store others can reach it also looks who holds the lock:
// a dashboard that starts takes it from whoever has it. For a container of another
// image that runs a program of the operator's it leaves a copy of that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/naming"
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
	files, logins := secrets{}, secrets{}
	format := flag.String("format", "", "Format of the file: toml or redis.")
	template := flag.String("template", "", "File to start from.")
	out := flag.String("out", "", "File to write.")
	flag.Var(files, "secret", "setting=file whose content is the value of the setting; may be repeated.")
	flag.Var(logins, "login", "setting=directory whose files username (root if missing) and password are its value, "+
		"as username:password; may be repeated.")
	var wanted lock.Lock
	flag.StringVar(&wanted.Store, "lock-store", "", "Store with the lock to look at: etcd or zookeeper; empty for none.")
	flag.StringVar(&wanted.Addr, "lock-addr", "", "Comma list of the store's members.")
	flag.StringVar(&wanted.Product, "lock-product", "", "Product that is locked.")
	flag.StringVar(&wanted.Holder, "lock-holder", "", "Address of the dashboard that may have the lock.")
	flag.BoolVar(&wanted.Foreign, "lock-foreign", false, "Dashboards of other Kubernetes clusters may use the store.")
	var identity identity
	flag.StringVar(&identity.pod, "sentinel-pod", "", "namespace/name of the pod of a sentinel; empty for none.")
	flag.StringVar(&identity.ip, "sentinel-ip", "", "Address that a sentinel announces.")
	message := flag.String("message", "/dev/termination-log", "File that takes who holds the lock.")
	program := flag.String("program", "", "Program to copy into the directory --install; empty for none.")
	install := flag.String("install", "", "Directory that takes a copy of the program.")
	flag.Parse()
	err := write(config.Format(*format), *template, *out, files, logins, identity)
	if err == nil && *program != "" {
		err = leave(*program, *install)
	}
	if err == nil && wanted.Store != "" {
		err = look(context.Background(), wanted, logins[coordinatorAuth], *message, retryPeriod)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "config-writer:", err)
		os.Exit(1)
	}
}

// coordinatorAuth is the setting with the login of the store.
const coordinatorAuth = "coordinator_auth"

// retryPeriod is how often a store that does not answer is asked again.
const retryPeriod = 500 * time.Millisecond

// look ends when the lock may be taken, or with an error when somebody else has
// it. A store that does not answer is waited for: the dashboard could not start.
func look(ctx context.Context, wanted lock.Lock, login, message string, retry time.Duration) error {
	if login != "" {
		auth, err := readLogin(login)
		if err != nil {
			return fmt.Errorf("%s: %w", coordinatorAuth, err)
		}
		wanted.Auth = auth
	}
	found, err := lock.Await(ctx, wanted, retry, func(why string) {
		fmt.Fprintln(os.Stderr, "config-writer: waiting:", why)
	})
	if err != nil || !found.Present() {
		return err
	}
	if err := os.WriteFile(message, []byte(found.String()), 0o600); err != nil {
		return err
	}
	return fmt.Errorf("the dashboard must not start: %s", found)
}

// identity is what a sentinel is known by; the zero value is for all other files.
type identity struct{ pod, ip string }

// complete adds it to the text of a file, of which an older one may be there.
func (i identity) complete(text, out string) (string, error) {
	if i.pod == "" {
		return text, nil
	}
	namespace, pod, found := strings.Cut(i.pod, "/")
	if !found || i.ip == "" {
		return "", fmt.Errorf("a sentinel needs --sentinel-pod=namespace/name and --sentinel-ip")
	}
	before, err := os.ReadFile(out) //nolint:gosec // The operator chose the path.
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return config.WithIdentity(text, string(before), naming.SentinelID(namespace, pod), i.ip), nil
}

func write(format config.Format, template, out string, files, logins secrets, identity identity) error {
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
	for setting, dir := range logins {
		login, err := readLogin(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
		settings[setting] = login
	}
	result, err := config.WithSettings(format, string(text), settings)
	if err == nil {
		result, err = identity.complete(result, out)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(result), 0o600) //nolint:gosec // The operator chose the path.
}

// leave copies a program into a directory.
func leave(program, dir string) error {
	from, err := os.Open(program) //nolint:gosec // The operator chose the path.
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	name := filepath.Join(dir, filepath.Base(program))
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700) //nolint:gosec // To be run.
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// readLogin joins a user name and a password. A colon would end the user name.
func readLogin(dir string) (string, error) {
	user := "root"
	name, err := os.ReadFile(filepath.Join(dir, naming.UsernameKey)) //nolint:gosec // The operator chose the path.
	switch {
	case err == nil:
		user = strings.TrimRight(string(name), "\r\n")
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	}
	if user == "" || strings.Contains(user, ":") {
		return "", fmt.Errorf("the user name is empty or has a colon")
	}
	password, err := os.ReadFile(filepath.Join(dir, naming.PasswordKey)) //nolint:gosec // The operator chose the path.
	if err != nil {
		return "", err
	}
	return user + ":" + strings.TrimRight(string(password), "\r\n"), nil
}
