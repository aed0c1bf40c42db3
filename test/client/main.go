// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command client is a client of Codis for demonstrations, end-to-end tests and
// benchmarks. It prints one JSON object a line.
//
//	client roundtrip -addr sample-proxy:19000 -keys 1000
//	client load -addr sample-proxy:19000 -rate 1000 -duration 1m > load.log
//	client verify -addr sample-proxy:19000 < load.log
//	client observe -dashboard sample-dashboard-0.sample-dashboard:18080
//	client agent, in which client signal -container-id ID -signal KILL is executed
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/test/client/workload"
)

var (
	errUsage = errors.New("usage: client roundtrip|load|verify|observe|rebalance|agent|signal [flags]; " +
		"client COMMAND -h lists them")
	errLost = errors.New("acknowledged writes are lost")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "observe":
		return observe(ctx, args[1:], out)
	case "rebalance":
		return rebalance(ctx, args[1:], out)
	case "agent":
		<-ctx.Done() // it only is there for others to be executed in
		return nil
	case "signal":
		return sendSignal(ctx, args[1:], out)
	}
	commands := map[string]func(context.Context, *options, io.Reader, io.Writer) error{
		"roundtrip": roundtrip, "load": load, "verify": verify,
	}
	command, found := commands[args[0]]
	if !found {
		return errUsage
	}
	o, err := parse(args[0], args[1:])
	if err != nil {
		return err
	}
	return command(ctx, o, in, out)
}

// options of all commands; each uses those that it needs.
type options struct {
	workload.Load
	keys         int
	duration     time.Duration
	patience     time.Duration
	verifyAfter  bool
	passwordFile string
	inputFile    string
	pins         string
}

func parse(command string, args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("client "+command, flag.ContinueOnError)
	flags.StringVar(&o.Address, "addr", "127.0.0.1:19000", "address of a proxy or its Service")
	flags.StringVar(&o.passwordFile, "password-file", "", "file with the clients' password")
	flags.DurationVar(&o.Timeout, "timeout", 30*time.Second, "timeout of a connect and of a request")
	flags.StringVar(&o.Prefix, "prefix", "client", "prefix of all keys")
	flags.DurationVar(&o.patience, "patience", time.Minute, "roundtrip, verify: give up after this time")
	flags.IntVar(&o.keys, "keys", 1000, "roundtrip: number of keys")
	flags.StringVar(&o.pins, "pin", "", "load: addresses of proxies, with commas between them, that writers\n"+
		"connect to in turn; what they wrote is read back from -addr")
	flags.StringVar(&o.Slots, "slots", "", "load: write to these slots only, for example 0-511,600")
	flags.IntVar(&o.Writers, "writers", 4, "load: writers side by side")
	flags.Float64Var(&o.Rate, "rate", 200, "load: writes a second, of all writers together")
	flags.IntVar(&o.Size, "size", 0, "load: size of a value in bytes, at least")
	flags.DurationVar(&o.duration, "duration", 0, "load: stop after this time (default: when told to)")
	flags.DurationVar(&o.Report, "report", time.Second, "load: time between reports")
	flags.DurationVar(&o.Lifetime, "lifetime", 0, "load: replace connections after this time (default: never)")
	flags.BoolVar(&o.Reconnect, "reconnect", false, "load: repeat a write on another connection where its own was closed")
	flags.StringVar(&o.inputFile, "input", "", "verify: file with what load printed (default: standard input)")
	flags.BoolVar(&o.verifyAfter, "verify", false, "load: read back what was acknowledged, at the end")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 || o.keys < 1 || o.Writers < 1 || o.Rate <= 0 || o.Report <= 0 {
		return nil, errUsage
	}
	if o.pins != "" {
		o.Pins = strings.Split(o.pins, ",")
	}
	return o, o.readPassword()
}

func (o *options) readPassword() error {
	if o.passwordFile == "" {
		return nil
	}
	content, err := os.ReadFile(o.passwordFile)
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	o.Password = strings.TrimRight(string(content), "\r\n")
	return nil
}

func roundtrip(ctx context.Context, o *options, _ io.Reader, out io.Writer) error {
	started := time.Now()
	if err := workload.Roundtrip(ctx, o.Target, o.Prefix, o.keys, o.patience); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]any{
		"written": o.keys, "read": o.keys, "milliseconds": time.Since(started).Milliseconds(),
	})
}

// line is one line of output of load: a report or, at the end, the summary.
type line struct {
	Report  *workload.Report  `json:"report,omitempty"`
	Summary *workload.Summary `json:"summary,omitempty"`
}

func load(ctx context.Context, o *options, _ io.Reader, out io.Writer) error {
	writing := ctx
	if o.duration > 0 {
		var cancel context.CancelFunc
		writing, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	lines := json.NewEncoder(out)
	var printErr error
	summary, err := o.Run(writing, func(r workload.Report) {
		printErr = errors.Join(printErr, lines.Encode(line{Report: &r}))
	})
	if err != nil {
		return err
	}
	if err := errors.Join(printErr, lines.Encode(line{Summary: &summary})); err != nil {
		return err
	}
	if !o.verifyAfter {
		return nil
	}
	_, err = readBack(context.WithoutCancel(ctx), o, summary, out)
	return err // whoever follows the load judges what is lost
}

func verify(ctx context.Context, o *options, in io.Reader, out io.Writer) error {
	if o.inputFile != "" {
		file, err := os.Open(o.inputFile)
		if err != nil {
			return fmt.Errorf("read what load printed: %w", err)
		}
		defer file.Close()
		in = file
	}
	summary, err := findSummary(in)
	if err != nil {
		return err
	}
	v, err := readBack(ctx, o, summary, out)
	if err == nil && v.Lost > 0 {
		err = fmt.Errorf("%w: %d of %d", errLost, v.Lost, v.Checked)
	}
	return err
}

// readBack tells what became of what was acknowledged.
func readBack(
	ctx context.Context, o *options, summary workload.Summary, out io.Writer,
) (workload.Verification, error) {
	v, err := workload.Verify(ctx, o.Target, summary, o.patience)
	return v, errors.Join(err, json.NewEncoder(out).Encode(map[string]any{"verification": v}))
}

// findSummary looks for the summary in what load printed.
func findSummary(in io.Reader) (workload.Summary, error) {
	lines := bufio.NewReader(in)
	var summary *workload.Summary
	for {
		text, err := lines.ReadBytes('\n')
		var l line
		if json.Unmarshal(text, &l) == nil && l.Summary != nil {
			summary = l.Summary
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return workload.Summary{}, err
		}
	}
	if summary == nil {
		return workload.Summary{}, errors.New("there is no summary in the input: it is the last line of client load")
	}
	return *summary, nil
}
