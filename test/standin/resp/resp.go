// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package resp speaks RESP2: requests as byte slices, replies kept as the raw bytes they came in so that a proxy can
// hand them on untouched, and a small client for the dashboard. It refuses RESP3.
package resp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// The first bytes of replies.
const (
	String = '+'
	Error  = '-'
	Int    = ':'
	Bulk   = '$'
	Array  = '*'
)

const (
	maxBulk  = 512 << 20
	maxArray = 1 << 20
	maxDepth = 32
)

// ErrProtocol is the cause of every malformed message.
var ErrProtocol = errors.New("bad RESP message")

// ReadCommand reads one request, in the array or the inline form. An empty line gives no words and no error.
func ReadCommand(r *bufio.Reader) ([][]byte, error) {
	first, err := r.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] != Array {
		return readInline(r)
	}
	n, err := readCount(r, Array, maxArray)
	if err != nil {
		return nil, err
	}
	if n <= 0 {
		return nil, fmt.Errorf("%w: array of length %d", ErrProtocol, n)
	}
	words := make([][]byte, n)
	for i := range words {
		size, err := readCount(r, Bulk, maxBulk)
		if err != nil {
			return nil, err
		}
		if size < 0 {
			continue
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		if b[size] != '\r' || b[size+1] != '\n' {
			return nil, fmt.Errorf("%w: bulk without CRLF", ErrProtocol)
		}
		words[i] = b[:size:size]
	}
	return words, nil
}

func readInline(r *bufio.Reader) ([][]byte, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 {
		return nil, nil
	}
	words := bytes.Fields(bytes.Clone(line))
	if len(words) == 0 {
		return nil, fmt.Errorf("%w: blank line", ErrProtocol)
	}
	return words, nil
}

// readLine returns a line without its CRLF; it is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		head := bytes.Clone(line)
		line, err = r.ReadBytes('\n')
		line = append(head, line...)
	}
	if err != nil {
		return nil, err
	}
	n := len(line) - 2
	if n < 0 || line[n] != '\r' {
		return nil, fmt.Errorf("%w: line without CRLF", ErrProtocol)
	}
	return line[:n], nil
}

func readCount(r *bufio.Reader, kind byte, limit int) (int, error) {
	line, err := readLine(r)
	if err != nil {
		return 0, err
	}
	if len(line) == 0 || line[0] != kind {
		return 0, fmt.Errorf("%w: expected %q", ErrProtocol, kind)
	}
	return parseCount(line[1:], limit)
}

func parseCount(b []byte, limit int) (int, error) {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < -1 || n > limit {
		return 0, fmt.Errorf("%w: bad length", ErrProtocol)
	}
	return n, nil
}

// Reply is one complete reply in its wire form.
type Reply []byte

// ReadReply reads one reply.
func ReadReply(r *bufio.Reader) (Reply, error) { return readReply(r, nil, 0) }

func readReply(r *bufio.Reader, out Reply, depth int) (Reply, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || depth > maxDepth {
		return nil, fmt.Errorf("%w: empty or too deep", ErrProtocol)
	}
	switch line[0] {
	case String, Error, Int:
		return appendLine(out, line), nil
	case Bulk:
		return readBulk(r, out, line)
	case Array:
		n, err := parseCount(line[1:], maxArray)
		if err != nil {
			return nil, err
		}
		out = appendLine(out, line)
		for range n {
			if out, err = readReply(r, out, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: bad resp type %q", ErrProtocol, line[0])
}

func appendLine(out, line []byte) []byte {
	if out == nil {
		out = make([]byte, 0, len(line)+2)
	}
	return append(append(out, line...), '\r', '\n')
}

func readBulk(r *bufio.Reader, out Reply, line []byte) (Reply, error) {
	n, err := parseCount(line[1:], maxBulk)
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return appendLine(out, line), nil
	}
	if out == nil {
		out = make(Reply, 0, len(line)+2+n+2)
	}
	out = appendLine(out, line)
	at := len(out)
	out = append(out, make([]byte, n+2)...)
	if _, err := io.ReadFull(r, out[at:]); err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(out, []byte("\r\n")) {
		return nil, fmt.Errorf("%w: bulk without CRLF", ErrProtocol)
	}
	return out, nil
}

// Kind returns the first byte.
func (p Reply) Kind() byte { return p[0] }

// Line returns the first line without its kind and CRLF: the value of anything but bulks and arrays.
func (p Reply) Line() []byte {
	line, _, _ := bytes.Cut(p[1:], []byte("\r\n"))
	return line
}

// Text returns the value of a string, error, integer or bulk reply.
func (p Reply) Text() string {
	if p.Kind() == Bulk {
		head := len(p.Line()) + 3
		if head+2 > len(p) {
			return ""
		}
		return string(p[head : len(p)-2])
	}
	return string(p.Line())
}

// Elements splits an array reply.
func (p Reply) Elements() ([]Reply, error) {
	if p.Kind() != Array {
		return nil, fmt.Errorf("%w: not an array", ErrProtocol)
	}
	r := bufio.NewReader(bytes.NewReader(p))
	n, err := readCount(r, Array, maxArray)
	if err != nil || n < 0 {
		return nil, err
	}
	elements := make([]Reply, n)
	for i := range elements {
		if elements[i], err = ReadReply(r); err != nil {
			return nil, err
		}
	}
	return elements, nil
}

// Null says whether the reply is a null bulk or a null array.
func (p Reply) Null() bool {
	return (p.Kind() == Bulk || p.Kind() == Array) && string(p.Line()) == "-1"
}

// Maps splits an array of arrays, each of which lists names and values by turns.
func (p Reply) Maps() ([]map[string]string, error) {
	rows, err := p.Elements()
	if err != nil {
		return nil, err
	}
	maps := make([]map[string]string, len(rows))
	for i, row := range rows {
		words, err := row.Elements()
		if err != nil {
			return nil, err
		}
		if len(words)%2 != 0 {
			return nil, fmt.Errorf("%w: a name without a value", ErrProtocol)
		}
		maps[i] = map[string]string{}
		for pair := range slices.Chunk(words, 2) {
			maps[i][pair[0].Text()] = pair[1].Text()
		}
	}
	return maps, nil
}

// AppendCommand appends a request in the array form. A null word stays null, and a server that gets one hangs up.
func AppendCommand(out []byte, words [][]byte) []byte {
	out = appendHead(out, Array, len(words))
	for _, w := range words {
		if w == nil {
			out = appendHead(out, Bulk, -1)
			continue
		}
		out = AppendBulk(out, w)
	}
	return out
}

// AppendBulk appends a bulk string.
func AppendBulk(out, b []byte) []byte {
	out = appendHead(out, Bulk, len(b))
	return append(append(out, b...), '\r', '\n')
}

// AppendArray appends the head of an array of n elements.
func AppendArray(out []byte, n int) []byte { return appendHead(out, Array, n) }

func appendHead(out []byte, kind byte, n int) []byte {
	out = append(out, kind)
	out = strconv.AppendInt(out, int64(n), 10)
	return append(out, '\r', '\n')
}

// Errorf builds an error reply.
func Errorf(format string, args ...any) Reply {
	text := fmt.Appendf([]byte{Error}, format, args...)
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r"), []byte(" ")), []byte("\n"), []byte(" "))
	return append(text, '\r', '\n')
}

// Simple builds a simple string reply.
func Simple(s string) Reply { return Reply("+" + s + "\r\n") }

// Integer builds an integer reply.
func Integer(n int) Reply { return appendHead(nil, Int, n) }
