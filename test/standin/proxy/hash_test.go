// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import "testing"

func TestSlotOf(t *testing.T) {
	tests := map[string]int{
		"a": 579, "b": 1017, "c": 879, "foo{bar}baz": 170, "bar": 170, "{}x": 0, "{}": 0,
		"{bar}": 170, "{bar}{a}": 170, "}{bar}": 170, "{bar": SlotOf([]byte("{bar")), "x{a}y{b}": 579,
	}
	for key, want := range tests {
		if got := SlotOf([]byte(key)); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
	if SlotOf([]byte("{bar")) == 170 {
		t.Error("an open brace alone makes a tag")
	}
	if SlotOf(nil) != 0 {
		t.Error("commands without a key are not in slot 0")
	}
}

func TestHashKey(t *testing.T) {
	words := [][]byte{[]byte("x"), []byte("1"), []byte("2"), []byte("3")}
	tests := map[string]string{"GET": "1", "EVAL": "3", "ZUNIONSTORE": "3"}
	for op, want := range tests {
		if got := hashKey(words, op); string(got) != want {
			t.Errorf("%s: got %s", op, got)
		}
	}
	if hashKey(words[:1], "GET") != nil || hashKey(words[:3], "EVAL") != nil {
		t.Error("a missing key is found")
	}
}

func TestClassify(t *testing.T) {
	tests := map[string]struct {
		op         string
		banned     bool
		masterOnly bool
	}{
		"get":                    {"GET", false, false},
		"SeT":                    {"SET", false, true},
		"hscan":                  {"HSCAN", false, true},
		"keys":                   {"KEYS", true, false},
		"Host:":                  {"HOST:", true, false},
		"hello":                  {"HELLO", false, true},
		"xread":                  {"XREAD", false, true},
		"replicaof":              {"REPLICAOF", false, true},
		"slotsmgrt-exec-wrapper": {"SLOTSMGRT-EXEC-WRAPPER", false, true},
	}
	for name, tt := range tests {
		op, flag, err := classify([][]byte{[]byte(name)})
		if err != nil || op != tt.op || (flag&opBanned != 0) != tt.banned || flag.masterOnly() != tt.masterOnly {
			t.Errorf("%s: got %s, %b, %v", name, op, flag, err)
		}
	}
	for _, bad := range [][][]byte{nil, {{}}, {make([]byte, maxOpLen+1)}} {
		if _, _, err := classify(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestQueue(t *testing.T) {
	q := newQueue[int]()
	q.push(1)
	q.push(2)
	batch, ok := q.pop(nil)
	if !ok || len(batch) != 2 || batch[0] != 1 {
		t.Fatalf("got %v, %t", batch, ok)
	}
	q.push(3)
	if left := q.refuse(true); len(left) != 1 || q.push(4) {
		t.Errorf("a refusing queue kept %v or takes more", left)
	}
	q.refuse(false)
	q.push(5)
	q.close()
	if q.push(6) {
		t.Error("a closed queue takes more")
	}
	if batch, ok = q.pop(batch); !ok || batch[0] != 5 {
		t.Errorf("what was queued before is lost: %v, %t", batch, ok)
	}
	if _, ok = q.pop(batch); ok {
		t.Error("a closed and empty queue does not end")
	}
}

func BenchmarkSlotOf(b *testing.B) {
	key := []byte("user:{12345}:profile")
	for b.Loop() {
		SlotOf(key)
	}
}
