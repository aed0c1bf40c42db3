// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command codis-dashboard is the stand-in for the dashboard of Codis.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/dashboard"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/store"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "codis-dashboard (stand-in): %v\n", err)
		os.Exit(1)
	}
}

func flags() []conf.Flag {
	return append(conf.ProcessFlags(),
		conf.Flag{Name: "--config", Short: "-c"}, conf.Flag{Name: "--host-admin"},
		conf.Flag{Name: "--zookeeper"}, conf.Flag{Name: "--etcd"}, conf.Flag{Name: "--filesystem"},
		conf.Flag{Name: "--product_name"}, conf.Flag{Name: "--product_auth"},
		conf.Flag{Name: "--remove-lock", Switch: true}, conf.Flag{Name: "--default-config", Switch: true},
	)
}

func run(argv []string) error {
	args, err := conf.Parse(flags(), argv)
	if err != nil {
		return err
	}
	cfg := dashboard.Config{Settings: dashboard.DefaultSettings()}
	switch {
	case args.Has("--default-config"):
		fmt.Print(conf.Dump(&cfg.Settings))
		return nil
	case args.Has("--version"):
		fmt.Printf("version: %s\ncompile: %s\n", models.Version, models.Compile)
		return nil
	}
	if cfg.Log, err = conf.Setup(args, runtime.NumCPU()); err != nil {
		return err
	}
	if err := configure(args, &cfg); err != nil {
		return err
	}
	return serve(args, cfg)
}

func configure(args conf.Args, cfg *dashboard.Config) error {
	file, given, err := args.Text("--config")
	if err != nil {
		return err
	}
	if given {
		if err := conf.LoadFile(file, &cfg.Settings); err != nil {
			return fmt.Errorf("load config %s failed: %w", file, err)
		}
	}
	for _, name := range []string{"zookeeper", "etcd", "filesystem"} {
		addr, given, err := args.Text("--" + name)
		if err != nil {
			return err
		}
		if given {
			cfg.CoordinatorName, cfg.CoordinatorAddr = name, addr
			break
		}
	}
	return args.Override(map[string]*string{
		"--host-admin": &cfg.HostAdmin, "--product_name": &cfg.ProductName, "--product_auth": &cfg.ProductAuth,
	})
}

func serve(args conf.Args, cfg dashboard.Config) error {
	client, err := store.NewClient(cfg.CoordinatorName, cfg.CoordinatorAddr, cfg.CoordinatorAuth)
	if err != nil {
		return err
	}
	if args.Has("--remove-lock") {
		err := store.Product{Client: client, Name: cfg.ProductName}.Release()
		cfg.Log.Printf("force remove-lock: %v", err)
	}
	l, err := rpc.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return err
	}
	cfg.Client, cfg.ListenAddr = client, l.Addr().String()
	d, err := dashboard.New(cfg)
	if err != nil {
		return err
	}
	go serveHTTP(d, l, cfg.Log)
	remove, err := conf.WritePid(args, cfg.Log)
	if err != nil {
		return err
	}
	go closeOnSignal(d, cfg.Log)
	if err := d.Run(context.Background()); err != nil {
		return err
	}
	cfg.Log.Printf("dashboard is working ...")
	<-d.Done()
	if err := d.Failure(); err != nil {
		return err
	}
	err = d.Close()
	remove()
	return err
}

func serveHTTP(d *dashboard.Dashboard, l net.Listener, out *log.Logger) {
	if err := d.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		out.Printf("admin exit on error: %v", err)
	}
	_ = d.Close()
}

func closeOnSignal(d *dashboard.Dashboard, out *log.Logger) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	out.Printf("dashboard receive signal = '%v'", <-c)
	if err := d.Close(); err != nil {
		out.Printf("%v", err)
	}
}
