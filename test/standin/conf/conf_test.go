// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
)

func TestDuration(t *testing.T) {
	tests := map[string]struct {
		want time.Duration
		text string
	}{
		"30s":  {30 * time.Second, "30s"},
		"300s": {5 * time.Minute, "5m"},
		"2":    {2 * time.Second, "2s"},
		"0.5":  {500 * time.Millisecond, "500ms"},
		"0":    {0, "0"},
		"-1s":  {-time.Second, "-1s"},
		"2h":   {2 * time.Hour, "2h"},
	}
	for in, tt := range tests {
		var d conf.Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || d.D() != tt.want {
			t.Errorf("%s: got %v, %v", in, d.D(), err)
		}
		if b, err := d.MarshalText(); err != nil || string(b) != tt.text {
			t.Errorf("%s: printed as %s, %v", in, b, err)
		}
	}
	var d conf.Duration
	for _, bad := range []string{"", "x", "5 parsecs", "1s 2s"} {
		if d.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestSize(t *testing.T) {
	tests := map[string]struct {
		want conf.Size
		text string
	}{
		"128kb":  {128 << 10, "128kb"},
		"1024mb": {1 << 30, "1gb"},
		"32m":    {32 << 20, "32mb"},
		"100":    {100, "100"},
		"0":      {0, "0"},
		"1.5k":   {1536, "1536"},
		"7b":     {7, "7"},
	}
	for in, tt := range tests {
		var s conf.Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != tt.want {
			t.Errorf("%s: got %d, %v", in, s, err)
		}
		if b, err := s.MarshalText(); err != nil || string(b) != tt.text {
			t.Errorf("%s: printed as %s, %v", in, b, err)
		}
	}
}

type settings struct {
	Name   string        `json:"name"`
	Count  int           `toml:"count"`
	On     bool          `toml:"on"`
	Pause  conf.Duration `toml:"pause"`
	Auth   string        `toml:"auth" secret:"yes"`
	Hidden string        `toml:"-"`
}

func TestLoad(t *testing.T) {
	s := settings{Name: "default", Count: 7, Hidden: "kept"}
	text := "# comment\nname = \"a # \\\"b\" # trailing\n\n on = true\npause = '2s'\nunknown = [1]\n[table]\ncount = 9\n"
	if err := conf.Load(text, &s); err != nil {
		t.Fatal(err)
	}
	want := settings{Name: `a # "b`, Count: 7, On: true, Pause: conf.Duration(2 * time.Second), Hidden: "kept"}
	if s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	for _, bad := range []string{"name", "name = 3", "count = x", "on = 1", `name = "open`, `name = "a" b`, "pause = \"x\""} {
		if conf.Load(bad, &s) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestDumpKeepsSecrets(t *testing.T) {
	s := settings{Name: "n", Auth: "hunter2", Pause: conf.Duration(time.Second)}
	got := conf.Dump(&s)
	if strings.Contains(got, "hunter2") || !strings.Contains(got, "pause = \"1s\"\n") {
		t.Errorf("got %s", got)
	}
	var back settings
	if err := conf.Load(got, &back); err != nil || back.Name != "n" {
		t.Errorf("cannot read back: %+v, %v", back, err)
	}
}

func TestParseFlags(t *testing.T) {
	flags := []conf.Flag{
		{Name: "--config", Short: "-c"},
		{Name: "--log"},
		{Name: "--log-level"},
		{Name: "--assets-dir"},
		{Name: "--remove-lock", Switch: true},
	}
	tests := map[string]struct {
		argv  []string
		name  string
		want  string
		fails bool
	}{
		"with an equals sign":    {[]string{"--config=a=b"}, "--config", "a=b", false},
		"with a space":           {[]string{"--config", "x"}, "--config", "x", false},
		"short":                  {[]string{"-c", "x"}, "--config", "x", false},
		"short and glued":        {[]string{"-cx"}, "--config", "x", false},
		"exact before prefix":    {[]string{"--log=f"}, "--log", "f", false},
		"prefix":                 {[]string{"--assets=d"}, "--assets-dir", "d", false},
		"switch":                 {[]string{"--remove-lock"}, "--remove-lock", "true", false},
		"switch with a value":    {[]string{"--remove-lock=1"}, "", "", true},
		"ambiguous prefix":       {[]string{"--lo=f"}, "", "", true},
		"unknown":                {[]string{"--nope"}, "", "", true},
		"missing value":          {[]string{"--config"}, "", "", true},
		"twice":                  {[]string{"-c", "a", "-c", "b"}, "", "", true},
		"positional":             {[]string{"x"}, "", "", true},
		"value that is a switch": {[]string{"--config", "--log"}, "--config", "--log", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			args, err := conf.Parse(flags, tt.argv)
			if (err != nil) != tt.fails {
				t.Fatalf("got %v", err)
			}
			if tt.fails {
				return
			}
			if got, given, err := args.Text(tt.name); got != tt.want || !given || err != nil {
				t.Errorf("got %q, %t, %v", got, given, err)
			}
		})
	}
}

func TestEmptyValueIsAnError(t *testing.T) {
	args, err := conf.Parse([]conf.Flag{{Name: "--x"}, {Name: "--y"}}, []string{"--x", ""})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := args.Text("--x"); err == nil {
		t.Error("an empty value is accepted")
	}
	if _, given, err := args.Text("--y"); given || err != nil {
		t.Error("a missing flag is an error")
	}
}
