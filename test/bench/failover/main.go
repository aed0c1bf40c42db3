// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command failover measures what clients feel when a master is lost, and what
// they must not feel when something else is, with the operator installed and the
// images on the nodes. It makes one CodisCluster and strikes it again and again:
// clients are connected to every proxy and write all the while, and read back
// all that was acknowledged after each trial.
//
//	failover -fault crash,replica -count 20
//
// When the dashboard is struck, it tells too how long that was of no use. Beside the
// longest stall is the longest time for which the machine did not run the clients: a stall
// that is not longer may be none of the product.
//
// It fails if a trial does, if a promotion was needless, or if a write is lost
// that no failover may lose. Times are told and not judged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// options of a run.
type options struct {
	faults    []fault
	count     int
	replicas  int
	operators int
	storage   bool
	// coordinator of the product, and whether pods are struck that were struck before.
	coordinator v1alpha1.CoordinatorType
	worn        bool
	rate        int
	patience    time.Duration
}

func main() {
	o := options{}
	names := flag.String("fault", "crash", "what strikes, with commas between: "+strings.Join(faultNames(), ", "))
	flag.IntVar(&o.count, "count", 10, "number of trials of each fault")
	flag.IntVar(&o.replicas, "replicas", 2, "members of a group, the master included")
	flag.IntVar(&o.operators, "operators", 2, "replicas of the operator")
	flag.IntVar(&o.rate, "rate", 100, "writes a second on each connection; there are 2 to each of 2 proxies")
	flag.BoolVar(&o.storage, "storage", false, "give every member a volume")
	coordinator := flag.String("coordinator", string(v1alpha1.CoordinatorFilesystem),
		"where the dashboard keeps the topology: Filesystem, Etcd or ZooKeeper")
	flag.BoolVar(&o.worn, "worn", false,
		"strike pods again as they are: the kubelet waits ever longer before each start of what ended before")
	flag.DurationVar(&o.patience, "patience", 3*time.Minute, "give up on what does not become healthy after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	faults, err := findFaults(*names)
	o.coordinator = v1alpha1.CoordinatorType(*coordinator)
	if err == nil && !slices.Contains(coordinators, o.coordinator) {
		err = fmt.Errorf("-coordinator: there are %v", coordinators)
	}
	if err == nil && o.rate < 1 {
		err = errors.New("-rate: nothing would be written")
	}
	if err == nil && o.replicas < 2 {
		err = errors.New("-replicas: nobody can take over in a group of one")
	}
	if err == nil {
		o.faults = faults
		err = run(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	cluster, err := framework.Connect()
	if err != nil {
		return err
	}
	namespace, err := cluster.CreateNamespace(ctx, "failover")
	if err != nil {
		return err
	}
	b := &bench{options: o, cluster: cluster, namespace: namespace, agents: map[string]*framework.Agent{}}
	if err = b.setUp(ctx); err == nil {
		err = b.strikeAll(ctx)
	}
	return errors.Join(err, cluster.DeleteNamespace(context.WithoutCancel(ctx), namespace))
}

// strikeAll runs the trials of every fault. After one that failed the rest is
// not run: there is nothing sound left to strike.
func (b *bench) strikeAll(ctx context.Context) error {
	var all []trial
	for _, f := range b.faults {
		trials, err := b.strikeWith(ctx, f, slices.ContainsFunc(all, trial.failed))
		fmt.Println(summary(f.name, trials))
		all = append(all, trials...)
		if err != nil {
			return errors.Join(err, verdict(all))
		}
	}
	return verdict(all)
}

// strikeWith runs the trials of one fault.
func (b *bench) strikeWith(ctx context.Context, f fault, failed bool) ([]trial, error) {
	var trials []trial
	if !failed {
		if err := b.startWitness(ctx); err != nil {
			return nil, err
		}
	}
	for number := range b.count {
		t := trial{fault: f.name, number: number + 1}
		switch {
		case failed:
			t.notRun = "a trial failed before"
		case ctx.Err() != nil:
			t.notRun = interrupted
		default:
			b.run(ctx, f, &t)
			failed = t.failed()
		}
		fmt.Println(t)
		if failed && t.notRun == "" {
			b.explain(ctx)
		}
		trials = append(trials, t)
	}
	return trials, ctx.Err()
}
