// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"fmt"
	"strconv"
	"strings"
)

// Flag describes one flag of a binary.
type Flag struct {
	// Name is the long name with its dashes.
	Name string
	// Short is the one-letter form, if any.
	Short string
	// Switch marks a flag without a value.
	Switch bool
}

// Args are parsed flags: a nil entry was not given.
type Args map[string]*string

// Parse reads a command line: "--x=v", "--x v", "-c v", "-cv", and unambiguous prefixes of long names.
func Parse(flags []Flag, argv []string) (Args, error) {
	args := Args{}
	for len(argv) > 0 {
		word := argv[0]
		argv = argv[1:]
		f, value, given, err := find(flags, word)
		if err != nil {
			return nil, err
		}
		if args[f.Name] != nil {
			return nil, fmt.Errorf("%s given twice", f.Name)
		}
		if f.Switch {
			if given {
				return nil, fmt.Errorf("%s must not have an argument", f.Name)
			}
			value = "true"
		} else if !given {
			if len(argv) == 0 {
				return nil, fmt.Errorf("%s requires argument", f.Name)
			}
			value, argv = argv[0], argv[1:]
		}
		args[f.Name] = &value
	}
	return args, nil
}

func find(flags []Flag, word string) (f Flag, value string, given bool, err error) {
	if !strings.HasPrefix(word, "--") {
		for _, f := range flags {
			if f.Short != "" && strings.HasPrefix(word, f.Short) {
				value := strings.TrimPrefix(word, f.Short)
				return f, value, value != "", nil
			}
		}
		return Flag{}, "", false, fmt.Errorf("unexpected argument %s", word)
	}
	name, value, given := strings.Cut(word, "=")
	var found []Flag
	for _, f := range flags {
		if f.Name == name {
			return f, value, given, nil
		}
		if strings.HasPrefix(f.Name, name) {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		return Flag{}, "", false, fmt.Errorf("%s is unknown or ambiguous", name)
	}
	return found[0], value, given, nil
}

// Has says whether a flag was given.
func (a Args) Has(name string) bool { return a[name] != nil }

// OnlyOne refuses more than one of a set of flags that exclude each other.
func (a Args) OnlyOne(names ...string) error {
	first := ""
	for _, name := range names {
		switch {
		case !a.Has(name):
		case first != "":
			return fmt.Errorf("%s and %s exclude each other", first, name)
		default:
			first = name
		}
	}
	return nil
}

// Text returns the value of a flag. A flag given with an empty value is an error, as upstream, which panics there.
func (a Args) Text(name string) (value string, given bool, err error) {
	p := a[name]
	switch {
	case p == nil:
		return "", false, nil
	case *p == "":
		return "", false, fmt.Errorf("option %s requires an argument", name)
	}
	return *p, true, nil
}

// Number returns the value of an integer flag.
func (a Args) Number(name string) (n int, given bool, err error) {
	s, given, err := a.Text(name)
	if err != nil || !given {
		return 0, false, err
	}
	n, err = strconv.Atoi(s)
	if err != nil {
		return 0, false, fmt.Errorf("option %s isn't a valid integer", name)
	}
	return n, true, nil
}

// Override sets each target from the flag of its name, if given.
func (a Args) Override(targets map[string]*string) error {
	for name, target := range targets {
		s, given, err := a.Text(name)
		if err != nil {
			return err
		}
		if given {
			*target = s
		}
	}
	return nil
}
