// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command image makes a container image out of files of this machine and writes it as a docker-archive, without a
// container engine:
//
//	go run ./hack/image -o out.tar -name codis-operator:dev -entrypoint /manager bin/manager:/manager
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/codis-io/codis-operator/hack/image/archive"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// list is a flag which may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ",") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

type options struct {
	output, name, user, workdir       string
	entrypoint, cmd, env, links, dirs list
	ldd                               bool
	files                             []string
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	entries, err := o.entries(ctx)
	if err != nil {
		return err
	}
	return archive.WriteFile(o.output, archive.Image{
		Name: o.name, Entrypoint: o.entrypoint, Cmd: o.cmd, Env: o.env,
		User: o.user, WorkingDir: o.workdir, Entries: entries,
	})
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: image -o FILE.tar -name NAME:TAG [flags] SOURCE:/PATH/IN/IMAGE ...")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.output, "o", "", "the docker-archive to write")
	flags.StringVar(&o.name, "name", "", "the image's name and tag")
	flags.StringVar(&o.user, "user", "65532", "the user (and :group) it runs as")
	flags.StringVar(&o.workdir, "workdir", "", "its working directory")
	flags.Var(&o.entrypoint, "entrypoint", "a word of the entrypoint (repeat it for more)")
	flags.Var(&o.cmd, "cmd", "a word of the default arguments (repeat it for more)")
	flags.Var(&o.env, "env", "K=V in its environment (repeatable)")
	flags.Var(&o.links, "symlink", "TARGET:/PATH, a symbolic link (repeatable)")
	flags.Var(&o.dirs, "dir", "/PATH or /PATH:MODE, a directory (repeatable)")
	flags.BoolVar(&o.ldd, "ldd", false, "add the shared libraries which the programs need")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.files = flags.Args()
	if o.output == "" || o.name == "" {
		return o, fmt.Errorf("-o and -name are needed")
	}
	return o, nil
}

// entries is what the image holds, later ones replacing earlier ones at the same path.
func (o options) entries(ctx context.Context) ([]archive.Entry, error) {
	entries := archive.Base()
	for _, dir := range o.dirs {
		entry, err := directory(dir)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	for _, link := range o.links {
		target, name, found := strings.Cut(link, ":")
		if !found {
			return nil, fmt.Errorf("-symlink %s: it is TARGET:/PATH", link)
		}
		entries = append(entries, archive.Entry{Path: name, Link: target})
	}
	for _, file := range o.files {
		source, target, found := strings.Cut(file, ":")
		if !found {
			return nil, fmt.Errorf("%s: it is SOURCE:/PATH/IN/IMAGE", file)
		}
		tree, err := archive.Tree(source, target)
		if err != nil {
			return nil, err
		}
		entries = append(entries, tree...)
	}
	if !o.ldd {
		return entries, nil
	}
	libraries, err := archive.Libraries(ctx, entries)
	return append(entries, libraries...), err
}

func directory(text string) (archive.Entry, error) {
	name, mode, found := strings.Cut(text, ":")
	entry := archive.Entry{Path: name, Dir: true}
	if !found {
		return entry, nil
	}
	bits, err := strconv.ParseInt(mode, 8, 64)
	if err != nil {
		return entry, fmt.Errorf("-dir %s: the mode is an octal number", text)
	}
	entry.Mode = bits
	return entry, nil
}
