// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command codis-fe is the stand-in for the front end of Codis.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/fe"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/store"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "codis-fe (stand-in): %v\n", err)
		os.Exit(1)
	}
}

func flags() []conf.Flag {
	all := append(conf.ProcessFlags(), conf.Flag{Name: "--dashboard-list", Short: "-d"})
	for _, name := range []string{
		"--listen", "--assets-dir", "--zookeeper", "--zookeeper-auth", "--etcd", "--etcd-auth", "--filesystem",
	} {
		all = append(all, conf.Flag{Name: name})
	}
	return all
}

func run(argv []string) error {
	args, err := conf.Parse(flags(), argv)
	if err != nil {
		return err
	}
	if args.Has("--version") {
		fmt.Printf("version: %s\ncompile: %s\n", models.Version, models.Compile)
		return nil
	}
	out, err := conf.Setup(args, runtime.NumCPU())
	if err != nil {
		return err
	}
	cfg := fe.Config{Log: out}
	listen, given, err := args.Text("--listen")
	if err != nil {
		return err
	}
	if !given {
		return errors.New("option --listen is required")
	}
	if cfg.AssetsDir, err = assets(args); err != nil {
		return err
	}
	if cfg.Load, err = loader(args); err != nil {
		return err
	}
	l, err := rpc.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if _, err := conf.WritePid(args, out); err != nil {
		return err
	}
	s := &http.Server{Handler: fe.New(cfg), ErrorLog: out}
	return s.Serve(l)
}

// assets returns the directory to serve. The default, unlike upstream's, need not exist.
func assets(args conf.Args) (string, error) {
	dir, given, err := args.Text("--assets-dir")
	if err != nil {
		return "", err
	}
	if !given {
		dir = filepath.Join(filepath.Dir(os.Args[0]), "assets")
	}
	_, err = os.Stat(filepath.Join(dir, "index.html"))
	switch {
	case err == nil:
		return dir, nil
	case given:
		return "", fmt.Errorf("get stat of index.html failed: %w", err)
	}
	return "", nil
}

func loader(args conf.Args) (fe.Loader, error) {
	if err := args.OnlyOne("--dashboard-list", "--zookeeper", "--etcd", "--filesystem"); err != nil {
		return nil, err
	}
	file, given, err := args.Text("--dashboard-list")
	if err != nil || given {
		return fe.File(file), err
	}
	for _, name := range []string{"zookeeper", "etcd", "filesystem"} {
		addr, given, err := args.Text("--" + name)
		if err != nil {
			return nil, err
		}
		if !given {
			continue
		}
		auth, _, err := args.Text("--" + name + "-auth")
		if err != nil {
			return nil, err
		}
		c, err := store.NewClient(name, addr, auth)
		return fe.Coordinator(c), err
	}
	return nil, errors.New("invalid coordinator")
}
