// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package conf reads what the Codis binaries take from outside: flags, flat TOML files, durations and sizes, and log
// files. It keeps their habits (an empty flag value ends the process, unknown keys are ignored) and knows no
// component.
package conf

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Duration reads "30s" or a bare number of seconds and prints its largest whole unit.
type Duration time.Duration

// D returns the duration as the standard type.
func (d Duration) D() time.Duration { return time.Duration(d) }

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
	{"us", time.Microsecond},
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) {
	if d == 0 {
		return []byte("0"), nil
	}
	for _, u := range durationUnits {
		if d.D()%u.unit == 0 {
			return fmt.Appendf(nil, "%d%s", int64(d.D()/u.unit), u.name), nil
		}
	}
	return []byte(d.D().String()), nil
}

var (
	durationText = regexp.MustCompile(`^\s*(-?[\d.]+)\s*([a-z]*)\s*$`)
	sizeText     = regexp.MustCompile(`^\s*(-?[\d.]+)\s*([kmgtp]?)b?\s*$`)
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	m := durationText.FindStringSubmatch(string(text))
	if m == nil {
		return errors.New("invalid timesize")
	}
	unit := m[2]
	if unit == "" {
		unit = "s"
	}
	v, err := time.ParseDuration(m[1] + unit)
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes: it reads "32mb" and prints its largest whole unit.
type Size int64

const sizeUnits = "kmgtp"

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("0"), nil
	}
	for i := len(sizeUnits); i > 0; i-- {
		if unit := Size(1) << (10 * i); s%unit == 0 {
			return fmt.Appendf(nil, "%d%cb", int64(s/unit), sizeUnits[i-1]), nil
		}
	}
	return strconv.AppendInt(nil, int64(s), 10), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	m := sizeText.FindStringSubmatch(string(text))
	if m == nil {
		return errors.New("invalid bytesize")
	}
	unit := int64(1)
	for i := range sizeUnits {
		if m[2] == sizeUnits[i:i+1] {
			unit = 1 << (10 * (i + 1))
		}
	}
	if n, err := strconv.ParseInt(m[1], 10, 64); err == nil {
		*s = Size(n * unit)
		return nil
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return errors.New("invalid bytesize")
	}
	*s = Size(f * float64(unit))
	return nil
}
