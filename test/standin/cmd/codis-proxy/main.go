// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command codis-proxy is the stand-in for the proxy of Codis.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/proxy"
	"github.com/codis-io/codis-operator/test/standin/rpc"
	"github.com/codis-io/codis-operator/test/standin/store"
)

const defaultCPUs = 4

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "codis-proxy (stand-in): %v\n", err)
		os.Exit(1)
	}
}

func flags() []conf.Flag {
	all := append(conf.ProcessFlags(),
		conf.Flag{Name: "--config", Short: "-c"}, conf.Flag{Name: "--default-config", Switch: true})
	for _, name := range []string{
		"--max-ncpu", "--host-admin", "--host-proxy", "--dashboard", "--zookeeper", "--zookeeper-auth", "--etcd",
		"--etcd-auth", "--filesystem", "--fillslots", "--ulimit", "--product_name", "--product_auth", "--session_auth",
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
	if err := args.OnlyOne("--dashboard", "--zookeeper", "--etcd", "--filesystem", "--fillslots"); err != nil {
		return err
	}
	cfg := proxy.Config{Settings: proxy.DefaultSettings()}
	switch {
	case args.Has("--default-config"):
		fmt.Print(conf.Dump(&cfg.Settings))
		return nil
	case args.Has("--version"):
		fmt.Printf("version: %s\ncompile: %s\n", models.Version, models.Compile)
		return nil
	}
	if cfg.Log, err = conf.Setup(args, defaultCPUs); err != nil {
		return err
	}
	if err := checkLimits(args); err != nil {
		return err
	}
	if err := configure(args, &cfg); err != nil {
		return err
	}
	goOnline, err := onlineMethod(args)
	if err != nil {
		return err
	}
	return serve(args, cfg, goOnline)
}

// checkLimits reads --max-ncpu only to check it: the stand-in keeps to --ncpu.
func checkLimits(args conf.Args) error {
	if _, _, err := args.Number("--max-ncpu"); err != nil {
		return err
	}
	want, given, err := args.Number("--ulimit")
	if err != nil || !given {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < uint64(want) {
		return fmt.Errorf("ulimit too small: %d, should be at least %d", limit.Cur, want)
	}
	return nil
}

func configure(args conf.Args, cfg *proxy.Config) error {
	file, given, err := args.Text("--config")
	if err != nil {
		return err
	}
	if given {
		if err := conf.LoadFile(file, &cfg.Settings); err != nil {
			return fmt.Errorf("load config %s failed: %w", file, err)
		}
	}
	return args.Override(map[string]*string{
		"--host-admin": &cfg.HostAdmin, "--host-proxy": &cfg.HostProxy, "--product_name": &cfg.ProductName,
		"--product_auth": &cfg.ProductAuth, "--session_auth": &cfg.SessionAuth,
	})
}

// onlineMethod decides how the proxy comes online; without a flag it waits to be called.
func onlineMethod(args conf.Args) (func(p *proxy.Proxy) error, error) {
	addr, given, err := args.Text("--dashboard")
	if err != nil || given {
		return func(p *proxy.Proxy) error { return p.OnlineWithDashboard(addr) }, err
	}
	for _, name := range []string{"zookeeper", "etcd", "filesystem"} {
		root, given, err := args.Text("--" + name)
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
		c, err := store.NewClient(name, root, auth)
		if err != nil {
			return nil, err
		}
		return func(p *proxy.Proxy) error { return p.OnlineWithCoordinator(c) }, nil
	}
	file, given, err := args.Text("--fillslots")
	if err != nil || !given {
		return func(*proxy.Proxy) error { return nil }, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load slots from file failed: %w", err)
	}
	var slots []*models.Slot
	if err := json.Unmarshal(b, &slots); err != nil {
		return nil, fmt.Errorf("decode slots from json failed: %w", err)
	}
	return func(p *proxy.Proxy) error { return p.OnlineWithSlots(slots) }, nil
}

func serve(args conf.Args, cfg proxy.Config, goOnline func(p *proxy.Proxy) error) error {
	clients, err := rpc.Listen(cfg.ProtoType, cfg.ProxyAddr)
	if err != nil {
		return err
	}
	admin, err := rpc.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return err
	}
	cfg.ListenProxy, cfg.ListenAdmin = clients.Addr().String(), admin.Addr().String()
	p, err := proxy.New(cfg)
	if err != nil {
		return err
	}
	go serveAdmin(p, admin, cfg.Log)
	go serveClients(p, clients, cfg.Log)
	remove, err := conf.WritePid(args, cfg.Log)
	if err != nil {
		return err
	}
	go closeOnSignal(p, cfg.Log)
	failed := make(chan error, 1)
	go func() {
		if err := goOnline(p); err != nil {
			failed <- err
		}
	}()
	cfg.Log.Printf("proxy is waiting to come online or working ...")
	select {
	case err := <-failed:
		return err
	case <-p.Done():
	}
	remove()
	return nil
}

func serveAdmin(p *proxy.Proxy, l net.Listener, out *log.Logger) {
	if err := p.ServeAdmin(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		out.Printf("admin exit on error: %v", err)
	}
	_ = p.Close()
}

func serveClients(p *proxy.Proxy, l net.Listener, out *log.Logger) {
	if err := p.ServeClients(l); err != nil && !errors.Is(err, net.ErrClosed) {
		out.Printf("proxy exit on error: %v", err)
	}
	_ = p.Close()
}

func closeOnSignal(p *proxy.Proxy, out *log.Logger) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	out.Printf("proxy receive signal = '%v'", <-c)
	_ = p.Close()
}
