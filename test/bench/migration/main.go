// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command migration measures how fast slots move when the operator plans it, beside
// Codis's own rebalance, with the operator installed and the images on the nodes. One
// CodisCluster of two groups is filled; a third group gets its share of the slots from
// them by one way and then by the other, again and again, and gives all back in between.
// Clients write all the while, and read back what was acknowledged at the end.
//
//	migration -count 5 -megabytes 300
//
// It fails if the operator is slower than -least of the speed of Codis, if a client gets
// an error, or if a write is lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// options of a run.
type options struct {
	count     int
	megabytes int
	size      int
	rate      int
	least     float64
	patience  time.Duration
}

func main() {
	o := options{}
	flag.IntVar(&o.count, "count", 5, "number of trials of each way")
	flag.IntVar(&o.megabytes, "megabytes", 300, "data of both groups together")
	flag.IntVar(&o.size, "size", 1024, "bytes of a value")
	flag.IntVar(&o.rate, "rate", 200, "writes a second meanwhile")
	flag.Float64Var(&o.least, "least", 0.9, "speed of the operator by that of Codis that is asked for")
	flag.DurationVar(&o.patience, "patience", 5*time.Minute, "give up on what does not come to rest after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "migration:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.count < 1 || o.megabytes < 1 || o.size < 1 || o.rate < 1 {
		return errors.New("-count, -megabytes, -size and -rate must be at least 1")
	}
	cluster, err := framework.Connect()
	if err != nil {
		return err
	}
	namespace, err := cluster.CreateNamespace(ctx, "migration")
	if err != nil {
		return err
	}
	b := &bench{options: o, cluster: cluster, namespace: namespace}
	if err = b.setUp(ctx); err == nil {
		err = b.measure(ctx)
	}
	return errors.Join(err, cluster.DeleteNamespace(context.WithoutCancel(ctx), namespace))
}

// measure runs the trials, the two ways in turn, so that whatever changes in the
// meantime changes for both.
func (b *bench) measure(ctx context.Context) error {
	load, err := b.cluster.StartLoad(ctx, b.namespace, product)
	if err != nil {
		return err
	}
	var codis, operator []trial
	for number := range b.count {
		for _, way := range []struct {
			name   string
			move   func(context.Context) (time.Time, error)
			trials *[]trial
		}{{"codis", b.askCodis, &codis}, {"operator", b.askOperator, &operator}} {
			t, err := b.run(ctx, way.move)
			if err != nil {
				return fmt.Errorf("trial %d of %s: %w", number+1, way.name, err)
			}
			fmt.Printf("trial %d of %s: %s\n", number+1, way.name, t)
			*way.trials = append(*way.trials, t)
		}
	}
	outcome, err := load.Stop(ctx)
	fmt.Printf("clients: %d writes acknowledged, %d failed %v, %d lost, longest stall %d ms\n",
		outcome.Acknowledged, outcome.Failed, outcome.Errors, outcome.Lost, outcome.LongestStallMS)
	text, ratio := summary(codis, operator)
	fmt.Println(text)
	if err != nil {
		return err
	}
	return verdict(ratio, b.least, outcome)
}
