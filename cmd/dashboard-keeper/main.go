// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command dashboard-keeper is the main process of a dashboard's container. It runs
// codis-dashboard, and starts it again in place when it ended or answers nothing:
// kubelet needs seconds to see that, and pauses ever longer before it starts a
// container again. Before each start it looks whose the lock is, as the config writer
// does before the first, and kills a dashboard whose lock another run has taken. It
// refuses to know what the dashboard does, and to go on with one that does not come to
// serve: that is kubelet's to pause, for everybody to see.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/internal/lock"
)

const (
	// lasting is how long a dashboard must have run, and served in that time, for its
	// end to be an accident. The operator has the same measure.
	lasting = 10 * time.Second
	// silence is how long a dashboard that answered before may answer nothing: kubelet ends
	// the container after 4 s at the earliest. It answers this question without waiting for
	// its store or for a server.
	silence = 2 * time.Second
	// asking is the pause between two questions.
	asking = 250 * time.Millisecond
	// lateness is how much longer than asked for the keeper may sleep: after more than that
	// it had no time to run, and the dashboard neither.
	lateness = 500 * time.Millisecond
	// attempts is how many dashboards in a row may end without an accident.
	attempts = 5
	// firstPause is the pause after the first of them; each is twice the one before.
	firstPause = 200 * time.Millisecond
	// nameWait is how long the dashboard's own name is waited for: it ends at once where
	// that is not known, as in the first moments of a pod.
	nameWait = 3 * time.Second
	// lockPause is how often a store that does not answer is asked again.
	lockPause = 500 * time.Millisecond
	// fencing is how often it is seen whether the lock is still that of the run.
	fencing = time.Second
)

const (
	// codeStopped is what the keeper ends with when it is told to end while none runs.
	codeStopped = 128 + int(syscall.SIGTERM)
	// codeNotFound is what a shell ends with that finds no such program.
	codeNotFound = 127
)

func main() {
	runtime.LockOSThread() // The dashboard is killed when the thread ends that started it.
	k := &keeper{
		lasting: lasting, silence: silence, asking: asking, lateness: lateness, attempts: attempts,
		firstPause: firstPause, nameWait: nameWait, lockPause: lockPause, fencing: fencing,
		log: os.Stderr, resolve: net.DefaultResolver.LookupHost,
	}
	flag.StringVar(&k.addr, "addr", "127.0.0.1:18080", "Address to ask the dashboard at.")
	flag.StringVar(&k.host, "host", "", "Name that must be known before the dashboard starts; empty for none.")
	flag.StringVar(&k.config, "login-in", "", "File with the setting coordinator_auth, the store's login; empty for none.")
	flag.StringVar(&k.lock.Store, "lock-store", "", "Store with the lock to look at: etcd or zookeeper; empty for none.")
	flag.StringVar(&k.lock.Addr, "lock-addr", "", "Comma list of the store's members.")
	flag.StringVar(&k.lock.Product, "lock-product", "", "Product that is locked.")
	flag.StringVar(&k.lock.Holder, "lock-holder", "", "Address of the dashboard that may have the lock.")
	flag.BoolVar(&k.lock.Foreign, "lock-foreign", false, "Dashboards of other Kubernetes clusters may use the store.")
	flag.StringVar(&k.record, "record", "", "File that keeps the runs of the pod; empty for none.")
	flag.StringVar(&k.message, "message", "/dev/termination-log", "File that takes why the keeper ends.")
	flag.Parse()
	k.command = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := k.keep(ctx)
	stop()
	os.Exit(code)
}

// keeper keeps one dashboard running.
type keeper struct {
	command            []string
	addr, host, config string
	lock               lock.Lock
	message, record    string
	log                io.Writer
	resolve            func(ctx context.Context, host string) ([]string, error)

	lasting, silence, asking, lateness, firstPause, nameWait, lockPause time.Duration
	fencing                                                             time.Duration
	attempts                                                            int
}

// keep runs dashboards one after the other, until it is told to end, the lock is
// somebody else's, or too many end before they serve. It returns the exit code.
//
// A dashboard starts only after the one before was seen dead, so that two never run
// in one container. Whoever kills the keeper kills the dashboard with it.
func (k *keeper) keep(ctx context.Context) int {
	for failures := 0; ; {
		refusal, err := k.mayStart(ctx)
		switch {
		case ctx.Err() != nil:
			return codeStopped
		case err != nil:
			return k.end("the dashboard must not start", err.Error(), 1)
		case refusal != "":
			return k.end("the dashboard must not start", refusal, 1)
		}
		ended, err := k.run(ctx)
		if err != nil {
			return k.end("there is no dashboard to run", err.Error(), codeNotFound)
		}
		if ctx.Err() != nil {
			k.say("the dashboard was told to end: %s", ended.how())
			return ended.code()
		}
		if ended.fenced {
			return k.end("the dashboard was killed", lock.Finding{Kind: lock.Held, Addr: ended.rival}.String(), 1)
		}
		failures++
		if ended.accident(k.lasting) {
			failures = 0
		}
		if failures >= k.attempts {
			return k.end("giving up", fmt.Sprintf("%d dashboards in a row ended before they had served for %s, the last: %s",
				failures, k.lasting, ended.how()), ended.code())
		}
		pause := pauseAfter(failures, k.firstPause)
		k.say("the dashboard ended after %s: %s; it is started again in %s", ended.length, ended.how(), pause)
		if !wait(ctx, pause) {
			return codeStopped
		}
	}
}

// end says why the keeper ends, and leaves it to the operator as a message.
func (k *keeper) end(what, why string, code int) int {
	k.say("%s: %s", what, why)
	if err := os.WriteFile(k.message, []byte(why), 0o600); err != nil {
		k.say("leave a message: %v", err)
	}
	return code
}

func (k *keeper) say(format string, args ...any) {
	_, _ = fmt.Fprintf(k.log, "dashboard-keeper: "+format+"\n", args...)
}

// pauseAfter is how long nothing runs after failures in a row; no time after none.
func pauseAfter(failures int, first time.Duration) time.Duration {
	if failures == 0 {
		return 0
	}
	return first << (failures - 1)
}

// wait waits, and tells whether the context goes on.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
