// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command codis-admin is the stand-in for the command line tool of Codis: it can remove a lock and list dashboards.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/fe"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/store"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "codis-admin (stand-in): %v\n", err)
		os.Exit(1)
	}
}

func run(argv []string) error {
	args, err := conf.Parse([]conf.Flag{
		{Name: "--version", Switch: true},
		{Name: "--remove-lock", Switch: true},
		{Name: "--dashboard-list", Switch: true},
		{Name: "--product"},
		{Name: "--zookeeper"},
		{Name: "--zookeeper-auth"},
		{Name: "--etcd"},
		{Name: "--etcd-auth"},
		{Name: "--filesystem"},
	}, argv)
	if err != nil {
		return err
	}
	if args.Has("--version") {
		fmt.Printf("version: %s\ncompile: %s\n", models.Version, models.Compile)
		return nil
	}
	client, err := coordinator(args)
	if err != nil {
		return err
	}
	switch {
	case args.Has("--remove-lock"):
		product, given, err := args.Text("--product")
		if err != nil || !given {
			return errors.Join(errors.New("option --product is required"), err)
		}
		return store.Product{Client: client, Name: product}.Release()
	case args.Has("--dashboard-list"):
		return list(client)
	}
	return errors.New("only --remove-lock, --dashboard-list and --version are in the stand-in")
}

func coordinator(args conf.Args) (store.Client, error) {
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
		return store.NewClient(name, addr, auth)
	}
	return nil, errors.New("invalid coordinator")
}

func list(c store.Client) error {
	found, err := fe.Coordinator(c)()
	if err != nil {
		return err
	}
	type entry struct {
		Name      string `json:"name"`
		Dashboard string `json:"dashboard"`
	}
	all := []entry{}
	for name, addr := range found {
		all = append(all, entry{Name: name, Dashboard: addr})
	}
	b, err := models.Encode(all)
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return nil
}
