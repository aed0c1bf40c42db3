// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package memproc is what servers in memory have in common with processes: they serve clients that connect, hang, and
// die. What they answer is up to who embeds it.
package memproc

import (
	"bufio"
	"io"
	"net"
	"sync"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

// Process is one process. The zero value is ready.
type Process struct {
	mu   sync.Mutex
	dead bool
	// resume is closed when the process goes on; nil while it does not hang.
	resume  chan struct{}
	open    map[io.Closer]bool
	running sync.WaitGroup
}

// Accept hands every connection to serve, which may read it to its end, until the process is killed.
func (p *Process) Accept(l net.Listener, serve func(net.Conn)) error {
	if !p.keep(l) {
		return net.ErrClosed
	}
	defer p.drop(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if !p.keep(conn) {
			return net.ErrClosed
		}
		go func() {
			defer p.drop(conn)
			serve(conn)
		}()
	}
}

func (p *Process) keep(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		_ = c.Close()
		return false
	}
	if p.open == nil {
		p.open = map[io.Closer]bool{}
	}
	p.open[c] = true
	p.running.Add(1)
	return true
}

func (p *Process) drop(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = c.Close()
	delete(p.open, c)
	p.running.Done()
}

// Kill ends the process and its connections at once, hung ones included.
func (p *Process) Kill() {
	p.mu.Lock()
	p.dead = true
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.Hang(false)
	p.running.Wait()
}

// Hang stops answering, as SIGSTOP does, or answers what has piled up. Connections are accepted all the same.
func (p *Process) Hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.resume == nil:
		p.resume = make(chan struct{})
	case !on && p.resume != nil:
		close(p.resume)
		p.resume = nil
	}
}

// Answers waits for as long as the process hangs, and tells whether it lives then.
func (p *Process) Answers() bool {
	p.mu.Lock()
	resume := p.resume
	p.mu.Unlock()
	if resume != nil {
		<-resume
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead
}

// Commands hands every command of a client to answer, until that returns false or the client is gone.
func Commands(conn net.Conn, answer func(args []string) bool) {
	r := bufio.NewReader(conn)
	for {
		words, err := resp.ReadCommand(r)
		if err != nil {
			return
		}
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = string(w)
		}
		if len(args) > 0 && !answer(args) {
			return
		}
	}
}
