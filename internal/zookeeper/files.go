// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package zookeeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/codis-io/codis-operator/internal/roster"
)

// CurrentDir is the link beside the directories of identities that leads to the
// one of the member that may run.
const CurrentDir = "current"

// ConfigFile is the name of a member's file, which ZooKeeper writes to as well.
const ConfigFile = "zoo.cfg"

const membersKey = "dynamicConfigFile"

// Start is what a member needs before it starts.
type Start struct {
	// Volume with the directories of identities.
	Volume string
	ID     roster.ID
	// Settings that the operator decides, and the Members that one that has no
	// list of its own begins with.
	Settings, Members string
	// Joins tells that the member is to begin with these Members whatever list it
	// has: it has no vote, and its list may be as old as an earlier attempt.
	Joins bool
}

// Prepare writes the files of a member, and returns the list of members that it
// starts with. The list that ZooKeeper wrote is kept, since only it knows who
// has a vote; one that lacks the member, because it was not taken in yet, would
// keep it from starting and gets it as an observer, which has no vote.
func Prepare(s Start) (string, error) {
	dir := filepath.Join(s.Volume, s.ID.String())
	file := filepath.Join(dir, ConfigFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	members, at, err := written(file)
	if err != nil {
		return "", err
	}
	switch {
	case members == "" || s.Joins:
		members, at = s.Members, file+".dynamic"
	case !slices.ContainsFunc(ParseConfig(members).Members, func(m roster.Member) bool { return m.ID == s.ID }):
		members = strings.TrimRight(members, "\n") + "\n" + s.Members
	}
	if len(ParseConfig(members).Members) == 0 {
		return "", fmt.Errorf("%s has no members to start with", file)
	}
	settings := s.Settings + membersKey + "=" + at + "\n"
	for _, f := range [][2]string{
		{filepath.Join(dir, "myid"), strconv.FormatUint(uint64(s.ID), 10) + "\n"}, {at, members}, {file, settings},
	} {
		if err := replace(f[0], f[1]); err != nil {
			return "", err
		}
	}
	return members, link(filepath.Join(s.Volume, CurrentDir), s.ID.String())
}

// written reads the list of members that a member's file leads to, and where it
// is; both are empty if there is none.
func written(file string) (members, at string, err error) {
	text, err := os.ReadFile(file) //nolint:gosec // The operator chose the path.
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), membersKey+"="); found {
			// ZooKeeper names it by way of the link.
			at = filepath.Join(filepath.Dir(file), filepath.Base(value))
		}
	}
	if at == "" {
		return "", "", nil
	}
	list, err := os.ReadFile(at) //nolint:gosec // Beside the file.
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	return string(list), at, err
}

// replace writes a file so that a crash leaves the old one or the new one.
func replace(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func link(name, target string) error {
	if err := os.RemoveAll(name + ".new"); err != nil {
		return err
	}
	if err := os.Symlink(target, name+".new"); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
