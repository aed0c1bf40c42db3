// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package resp_test

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/codis-io/codis-operator/test/standin/resp"
)

func TestReadReply(t *testing.T) {
	tests := map[string]string{
		"a string":          "+OK\r\n",
		"an error":          "-ERR no\r\n",
		"an integer":        ":-12\r\n",
		"a bulk":            "$3\r\na\r\n\r\n",
		"an empty bulk":     "$0\r\n\r\n",
		"a null bulk":       "$-1\r\n",
		"a null array":      "*-1\r\n",
		"an empty array":    "*0\r\n",
		"nested arrays":     "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
		"a line of 10 kB":   "+" + strings.Repeat("x", 10000) + "\r\n",
		"a bulk of 100 kB":  "$100000\r\n" + strings.Repeat("x", 100000) + "\r\n",
		"an array of nulls": "*2\r\n$-1\r\n$-1\r\n",
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			r := bufio.NewReaderSize(strings.NewReader(wire+"+next\r\n"), 64)
			got, err := resp.ReadReply(r)
			if err != nil || string(got) != wire {
				t.Fatalf("got %.60q, %v", got, err)
			}
			if next, err := resp.ReadReply(r); err != nil || next.Text() != "next" {
				t.Errorf("the next reply is %q, %v", next, err)
			}
		})
	}
}

func TestReadReplyRefuses(t *testing.T) {
	tests := map[string]string{
		"RESP3":                  "%1\r\n+a\r\n+b\r\n",
		"an empty line":          "\r\n",
		"a line without CR":      "+OK\n",
		"a bulk without CRLF":    "$1\r\nxyz",
		"a bulk of length -2":    "$-2\r\n",
		"a bulk that is too big": "$999999999999\r\n",
		"a length with letters":  "*1x\r\n",
		"endless nesting":        strings.Repeat("*1\r\n", 100),
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := resp.ReadReply(bufio.NewReader(strings.NewReader(wire))); !errors.Is(err, resp.ErrProtocol) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if _, err := resp.ReadReply(bufio.NewReader(strings.NewReader("$5\r\nab"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut reply gives %v", err)
	}
}

func TestReadCommand(t *testing.T) {
	tests := map[string]struct {
		wire  string
		want  string
		fails bool
	}{
		"an array":                 {"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "GET|a", false},
		"binary":                   {"*1\r\n$4\r\n\r\n\x00 \r\n", "\r\n\x00 ", false},
		"an empty word":            {"*1\r\n$0\r\n\r\n", "", false},
		"inline":                   {"GET  a b\r\n", "GET|a|b", false},
		"an empty line":            {"\r\n", "", false},
		"an empty array":           {"*0\r\n", "", true},
		"an array of integers":     {"*1\r\n:1\r\n", "", true},
		"a word without an ending": {"*1\r\n$1\r\nabc", "", true},
		"a line without CR":        {"GET a\n", "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			words, err := resp.ReadCommand(bufio.NewReader(strings.NewReader(tt.wire)))
			if (err != nil) != tt.fails {
				t.Fatalf("got %v", err)
			}
			got := make([]string, len(words))
			for i, w := range words {
				got[i] = string(w)
			}
			if strings.Join(got, "|") != tt.want {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

func TestReply(t *testing.T) {
	p := resp.Reply("*3\r\n$2\r\nab\r\n:7\r\n*1\r\n+x\r\n")
	parts, err := p.Elements()
	if err != nil || len(parts) != 3 {
		t.Fatalf("got %q, %v", parts, err)
	}
	if parts[0].Text() != "ab" || parts[1].Text() != "7" || string(parts[2]) != "*1\r\n+x\r\n" {
		t.Errorf("got %q", parts)
	}
	if resp.Reply("$-1\r\n").Text() != "" {
		t.Error("a null is not empty")
	}
	if got := string(resp.Errorf("ERR a\r\nb")); got != "-ERR a  b\r\n" {
		t.Errorf("an error with a line break is %q", got)
	}
}

func TestAppendCommand(t *testing.T) {
	got := string(resp.AppendCommand(nil, [][]byte{[]byte("SET"), {}, []byte("v")}))
	if want := "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$1\r\nv\r\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestParseInfo(t *testing.T) {
	info := resp.ParseInfo("# Replication\r\nrole:slave\r\nmaster_host:a.b\r\n\r\nslave0:ip=::1,port=1\r\n")
	if len(info) != 3 || info["role"] != "slave" || info["slave0"] != "ip=::1,port=1" {
		t.Errorf("got %v", info)
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add("*2\r\n$1\r\na\r\n:1\r\n")
	f.Add("$-1\r\n")
	f.Fuzz(func(t *testing.T, wire string) {
		p, err := resp.ReadReply(bufio.NewReader(strings.NewReader(wire)))
		if err != nil {
			return
		}
		if !strings.HasPrefix(wire, string(p)) {
			t.Errorf("read %q of %q", p, wire)
		}
		_ = p.Text()
		if _, err := p.Elements(); err != nil && p.Kind() == resp.Array {
			t.Errorf("cannot split %q: %v", p, err)
		}
	})
}
