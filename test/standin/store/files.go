// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
)

// ErrClosed is the answer of a closed client.
var ErrClosed = errors.New("use of closed fs client")

// Files is the file system coordinator: values are files under root/data, written to root/temp and renamed. Every
// operation takes root/data.lck without waiting, so two processes that use a root at once make each other fail.
type Files struct {
	root string

	mu     sync.Mutex
	closed bool
}

// NewFiles returns a client for a root directory, which need not exist.
func NewFiles(root string) (*Files, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return &Files{root: abs}, nil
}

func (f *Files) file(key string) string {
	return filepath.Join(f.root, "data", path.Clean("/"+key))
}

// locked runs do while holding the lock file.
func (f *Files) locked(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if err := os.MkdirAll(f.root, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(f.root, "data.lck"), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	note, err := models.Encode(map[string]any{"pid": os.Getpid(), "now": time.Now().String()})
	if err != nil {
		return err
	}
	if err := lock.Truncate(0); err != nil {
		return err
	}
	if _, err := lock.Write(note); err != nil {
		return err
	}
	return errors.Join(do(), lock.Truncate(0))
}

// Create implements Client.
func (f *Files) Create(key string, value []byte) error {
	return f.locked(func() error {
		if _, err := os.Stat(f.file(key)); !errors.Is(err, os.ErrNotExist) {
			return errors.Join(errors.New("file already exists"), err)
		}
		return f.write(key, value)
	})
}

// Update implements Client.
func (f *Files) Update(key string, value []byte) error {
	return f.locked(func() error { return f.write(key, value) })
}

func (f *Files) write(key string, value []byte) error {
	file, temp := f.file(key), filepath.Join(f.root, "temp")
	for _, dir := range []string{filepath.Dir(file), temp} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	t, err := os.CreateTemp(temp, fmt.Sprintf("%d.", time.Now().Unix()))
	if err != nil {
		return err
	}
	_, err = t.Write(value)
	if err = errors.Join(err, t.Close()); err == nil {
		err = os.Rename(t.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(t.Name()))
	}
	return nil
}

// Delete implements Client.
func (f *Files) Delete(key string) error {
	return f.locked(func() error { return os.RemoveAll(f.file(key)) })
}

// Read implements Client.
func (f *Files) Read(key string) (value []byte, err error) {
	err = f.locked(func() error {
		value, err = os.ReadFile(f.file(key))
		if errors.Is(err, os.ErrNotExist) {
			value, err = nil, nil
		}
		return err
	})
	return value, err
}

// List implements Client.
func (f *Files) List(key string) (keys []string, err error) {
	err = f.locked(func() error {
		entries, err := os.ReadDir(f.file(key))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for _, e := range entries {
			keys = append(keys, path.Join(key, e.Name()))
		}
		return err
	})
	return keys, err
}

// Close implements Client.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}
