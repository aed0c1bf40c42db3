// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/codis-io/codis-operator/test/standin/models"
	"github.com/codis-io/codis-operator/test/standin/store"
)

func open(t *testing.T, root string) store.Product {
	t.Helper()
	c, err := store.NewClient("filesystem", root, "")
	if err != nil {
		t.Fatal(err)
	}
	return store.Product{Client: c, Name: "demo"}
}

func TestLayout(t *testing.T) {
	root := t.TempDir()
	p := open(t, root)
	m := &models.SlotMapping{ID: 7, GroupID: 1, Action: models.SlotAction{Index: 1, State: "pending", TargetID: 2}}
	errs := []error{
		p.Acquire(&models.Topom{ProductName: "demo"}),
		p.SaveSlot(m),
		p.SaveGroup(&models.Group{ID: 3, Servers: []*models.GroupServer{{Addr: "a:1"}}}),
		p.SaveProxy(&models.Proxy{Token: "abc"}),
		p.SaveSentinel(&models.Sentinel{Servers: []string{"s:1"}}),
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	var files []string
	dir := filepath.Join(root, "data")
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"codis3/demo/group/group-0003", "codis3/demo/proxy/proxy-abc", "codis3/demo/sentinel",
		"codis3/demo/slots/slot-0007", "codis3/demo/topom",
	}
	if !slices.Equal(files, want) {
		t.Errorf("got %v, want %v", files, want)
	}
	b, err := os.ReadFile(filepath.Join(dir, "codis3/demo/slots/slot-0007"))
	if err != nil {
		t.Fatal(err)
	}
	indented, err := json.MarshalIndent(m, "", "    ")
	if err != nil || string(b) != string(indented) {
		t.Errorf("got %s", b)
	}
	if left, err := os.ReadDir(filepath.Join(root, "temp")); err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestReadBack(t *testing.T) {
	memory := &store.Memory{}
	products := map[string]store.Product{
		"files": open(t, t.TempDir()), "memory": {Client: memory.Open(), Name: "demo"},
	}
	for name, p := range products {
		t.Run(name, func(t *testing.T) { testReadBack(t, p) })
	}
}

func testReadBack(t *testing.T, p store.Product) {
	t.Helper()
	if m, err := p.Slot(1); m != nil || err != nil {
		t.Errorf("a missing slot is %v, %v", m, err)
	}
	if g, err := p.Groups(); len(g) != 0 || err != nil {
		t.Errorf("missing groups are %v, %v", g, err)
	}
	for _, id := range []int{1, 9999} {
		if err := p.SaveGroup(&models.Group{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.DeleteGroup(1); err != nil {
		t.Fatal(err)
	}
	if err := p.DeleteGroup(1); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	if g, err := p.Groups(); len(g) != 1 || g[9999] == nil || err != nil {
		t.Errorf("got %v, %v", g, err)
	}
}

func TestLock(t *testing.T) {
	root, memory := t.TempDir(), &store.Memory{}
	testLock(t, open(t, root), open(t, root))
	testLock(t, store.Product{Client: memory.Open(), Name: "demo"}, store.Product{Client: memory.Open(), Name: "demo"})
}

func testLock(t *testing.T, first, second store.Product) {
	t.Helper()
	if err := first.Acquire(&models.Topom{Token: "first"}); err != nil {
		t.Fatal(err)
	}
	if err := second.Acquire(&models.Topom{Token: "second"}); err == nil {
		t.Fatal("the lock is taken twice")
	}
	if err := second.Release(); err != nil {
		t.Fatalf("anybody may release the lock: %v", err)
	}
	if err := second.Acquire(&models.Topom{Token: "second"}); err != nil {
		t.Fatal(err)
	}
	if holder, err := first.Topom(); err != nil || holder.Token != "second" {
		t.Errorf("the holder is %v, %v", holder, err)
	}
}

func TestOperationsDoNotWaitForOtherProcesses(t *testing.T) {
	root := t.TempDir()
	p := open(t, root)
	f, err := os.OpenFile(filepath.Join(root, "data.lck"), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Slot(1); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("got %v while another process is at it", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Slot(1); err != nil {
		t.Errorf("got %v afterwards", err)
	}
}

func TestNewClient(t *testing.T) {
	for _, name := range []string{"zookeeper", "zk", "etcd"} {
		c, err := store.NewClient(name, "127.0.0.1:1", "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Read("/x"); err == nil {
			t.Errorf("a closed client of %s answers", name)
		}
	}
	if _, err := store.NewClient("consul", "x", ""); err == nil {
		t.Error("there is no consul")
	}
	if _, err := store.NewClient("etcd", "x", "nocolon"); err == nil {
		t.Error("a password alone is no auth")
	}
	c, err := store.NewClient("fs", t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read("/x"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a closed client answers %v", err)
	}
}

func TestValidateProduct(t *testing.T) {
	for name, valid := range map[string]bool{"demo": true, "a.b-c_d": true, "": false, "-a": false, "a/b": false} {
		if err := store.ValidateProduct(name); (err == nil) != valid {
			t.Errorf("%q: %v", name, err)
		}
	}
}
