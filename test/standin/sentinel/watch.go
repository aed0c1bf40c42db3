// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package sentinel

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codis-io/codis-operator/test/standin/resp"
	"github.com/codis-io/codis-operator/test/standin/rpc"
)

const (
	switchMaster = "+switch-master"
	// A subscription is given up after this long, events or not.
	subscribeLimit = 15 * time.Minute
	mastersLimit   = 5 * time.Second

	// In pauses: how long after the start of a subscription that failed the next is tried, and how long after each
	// look at the masters there is no other.
	retryPauses, lookPauses = 10, 5
	// After an event masters are asked for until this many looks succeeded, in at most this many.
	goodLooks, maxLooks = 2, 10
)

// majority is how many sentinels have to be there for the others not to matter.
func majority(servers []string) int { return 1 + len(servers)/2 }

// Watch reports the masters of all groups, as sentinels see them, whenever a majority of the sentinels is subscribed
// to, and whenever one of them tells of a switch, until ctx ends. It looks twice, and an event that comes between or
// after the two looks is seen by the second, or after another pause. The unit of all pauses is given; it is one second
// in the original.
func (p *Product) Watch(ctx context.Context, servers []string, pause time.Duration, report func(map[int]string)) {
	events := make(chan struct{}, 1)
	event := func() {
		select {
		case events <- struct{}{}:
		default:
		}
	}
	var subscriber sync.WaitGroup
	defer subscriber.Wait()
	subscriber.Go(func() {
		for ctx.Err() == nil {
			retry := time.Now().Add(retryPauses * pause)
			if p.subscribe(ctx, servers, event) {
				event()
			} else {
				waitUntil(ctx, retry)
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			p.look(ctx, servers, pause, report)
		}
	}
}

func waitUntil(ctx context.Context, t time.Time) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (p *Product) look(ctx context.Context, servers []string, pause time.Duration, report func(map[int]string)) {
	good := 0
	for i := 0; i < maxLooks && good < goodLooks && ctx.Err() == nil; i++ {
		masters, err := p.Masters(ctx, servers)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.Log.Printf("fetch group masters failed: %v", err)
		default:
			report(masters)
			good++
		}
		waitUntil(ctx, time.Now().Add(lookPauses*pause))
	}
}

// subscribe waits for the first event about the product. It returns false without one, if too few sentinels are left
// or the time is over.
func (p *Product) subscribe(ctx context.Context, servers []string, onMajority func()) bool {
	ctx, cancel := context.WithTimeout(ctx, subscribeLimit)
	defer cancel()
	var subscribed atomic.Int64
	results := make(chan bool, len(servers))
	for _, addr := range servers {
		go func() {
			results <- p.listen(ctx, addr, func() {
				if subscribed.Add(1) == int64(majority(servers)) {
					onMajority()
				}
			})
		}()
	}
	for alive := len(servers); alive >= majority(servers); alive-- {
		select {
		case <-ctx.Done():
			return false
		case told := <-results:
			if told {
				return true
			}
		}
	}
	p.Log.Printf("sentinel subscribe lost majority of %v", servers)
	return false
}

// listen returns true once one sentinel told of a switch of the product.
func (p *Product) listen(ctx context.Context, addr string, onSubscribed func()) bool {
	told := false
	err := p.with(ctx, addr, subscribeLimit+grace, func(c *resp.Client) error {
		if _, err := c.Do("SUBSCRIBE", switchMaster); err != nil {
			return err
		}
		onSubscribed()
		for !told {
			monitor, err := readSwitch(c)
			if err != nil {
				return err
			}
			p.Log.Printf("sentinel-[%s] %s %s", addr, switchMaster, monitor)
			_, told = p.group(monitor)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		p.Log.Printf("sentinel-[%s] subscribe failed: %v", addr, err)
	}
	return told
}

// readSwitch waits for an event and returns which monitor it is about.
func readSwitch(c *resp.Client) (string, error) {
	r, err := c.Receive()
	if err != nil {
		return "", err
	}
	message, err := r.Elements()
	if err != nil {
		return "", rpc.Trace(err)
	}
	if len(message) == 3 && message[0].Text() == "message" && message[1].Text() == switchMaster {
		if monitor, _, ok := strings.Cut(message[2].Text(), " "); ok {
			return monitor, nil
		}
	}
	return "", rpc.Errorf("invalid response = %q", r)
}

// master is what one sentinel says of one group.
type master struct {
	addr  string
	epoch int64
}

// Masters asks all sentinels for the masters of the product. Of different answers the one with the highest epoch
// counts, and of equal epochs the one that came first. A majority has to answer; a sentinel that has lost all it knew
// counts as one that answered.
func (p *Product) Masters(ctx context.Context, servers []string) (map[int]string, error) {
	ctx, cancel := context.WithTimeout(ctx, mastersLimit)
	defer cancel()
	results := make(chan map[int]master, len(servers))
	for _, addr := range servers {
		go func() { results <- p.vote(ctx, addr) }()
	}
	voted, best := 0, map[int]master{}
	for range servers {
		select {
		case <-ctx.Done():
		case votes := <-results:
			if votes == nil {
				continue
			}
			voted++
			for gid, m := range votes {
				if known, ok := best[gid]; !ok || known.epoch < m.epoch {
					best[gid] = m
				}
			}
		}
	}
	if voted < majority(servers) {
		return nil, rpc.Errorf("lost majority (%d/%d)", voted, len(servers))
	}
	masters := map[int]string{}
	for gid, m := range best {
		masters[gid] = m.addr
	}
	return masters, nil
}

// vote returns nil if a sentinel does not answer.
func (p *Product) vote(ctx context.Context, addr string) map[int]master {
	votes := map[int]master{}
	err := p.with(ctx, addr, mastersLimit+grace, func(c *resp.Client) error {
		rows, err := p.masters(c)
		if err != nil {
			return err
		}
		for gid, row := range rows {
			m, err := parseMaster(row)
			if err != nil {
				p.Log.Printf("sentinel-[%s] %v", addr, err)
				continue
			}
			votes[gid] = m
		}
		return nil
	})
	if err != nil {
		p.Log.Printf("sentinel-[%s] masters failed: %v", addr, err)
		return nil
	}
	return votes
}

func parseMaster(row map[string]string) (master, error) {
	epoch, err := strconv.ParseInt(row["config-epoch"], 10, 64)
	if err != nil {
		return master{}, fmt.Errorf("parse %s: %w", row["name"], err)
	}
	if row["ip"] == "" || row["port"] == "" {
		return master{}, fmt.Errorf("parse %s: no address", row["name"])
	}
	return master{addr: net.JoinHostPort(row["ip"], row["port"]), epoch: epoch}, nil
}
