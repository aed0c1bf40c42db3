// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ProcessFlags are the flags every daemon has.
func ProcessFlags() []Flag {
	return []Flag{
		{Name: "--ncpu"},
		{Name: "--log", Short: "-l"},
		{Name: "--log-level"},
		{Name: "--pidfile"},
		{Name: "--version", Switch: true},
	}
}

// Setup applies --log, --log-level and --ncpu and returns the logger of the process.
func Setup(args Args, ncpu int) (*log.Logger, error) {
	out := io.Writer(os.Stderr)
	path, given, err := args.Text("--log")
	if err != nil {
		return nil, err
	}
	if given {
		out = &dailyFile{path: path}
	}
	level, given, err := args.Text("--log-level")
	if err != nil {
		return nil, err
	}
	if given && !ValidLogLevel(level) {
		return nil, fmt.Errorf("option --log-level = %s", level)
	}
	n, given, err := args.Number("--ncpu")
	if err != nil {
		return nil, err
	}
	if given {
		ncpu = n
	}
	runtime.GOMAXPROCS(ncpu)
	return log.New(out, "", log.LstdFlags|log.Lmicroseconds), nil
}

// ValidLogLevel says whether a level can be set; the stand-in logs the same whatever it is.
func ValidLogLevel(s string) bool {
	return slices.Contains([]string{"ERROR", "DEBUG", "WARN", "WARNING", "INFO", "NONE"}, strings.ToUpper(s))
}

// WritePid writes --pidfile, if given, and returns what removes it. Failures are only logged.
func WritePid(args Args, l *log.Logger) (remove func(), err error) {
	path, given, err := args.Text("--pidfile")
	if err != nil || !given {
		return func() {}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return func() {}, err
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		l.Printf("write pidfile = '%s' failed: %v", path, err)
		return func() {}, nil
	}
	return func() {
		if err := os.Remove(path); err != nil {
			l.Printf("remove pidfile = '%s' failed: %v", path, err)
		}
	}, nil
}

// dailyFile appends to path.YYYY-MM-DD.
type dailyFile struct {
	path string

	mu   sync.Mutex
	day  string
	file *os.File
}

// Write implements io.Writer.
func (d *dailyFile) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if day := time.Now().Format(time.DateOnly); day != d.day {
		if err := d.open(day); err != nil {
			return 0, err
		}
	}
	return d.file.Write(p)
}

func (d *dailyFile) open(day string) error {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path+"."+day, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if d.file != nil {
		_ = d.file.Close()
	}
	d.file, d.day = f, day
	return nil
}
