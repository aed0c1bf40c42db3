// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// event is one line of `go test -json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// counts of a suite. A test with subtests counts as its subtests only, unless
// it failed while all of them passed.
type counts struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

func (c counts) plus(d counts) counts {
	return counts{Passed: c.Passed + d.Passed, Failed: c.Failed + d.Failed, Skipped: c.Skipped + d.Skipped}
}

// String is the line that ends a run.
func (c counts) String() string {
	line := fmt.Sprintf("%d passed, %d failed", c.Passed, c.Failed)
	if c.Skipped > 0 {
		line += fmt.Sprintf(", %d skipped", c.Skipped)
	}
	return line
}

// counter reads the events of one suite. It prints a line for each package, and
// of the tests only the output of those that failed.
type counter struct {
	out     io.Writer
	verbose bool
	// output of tests that have not ended, by package and test.
	output map[[2]string][]string
	// parents are tests that have subtests, by package and test.
	parents map[[2]string]bool
	// failedIn counts failed tests by package, and by package and test.
	failedIn map[string]int
	// specs are the counts that a Ginkgo suite printed, by package and test.
	specs map[[2]string]counts
	total counts
}

func newCounter(out io.Writer, verbose bool) *counter {
	return &counter{
		out:      out,
		verbose:  verbose,
		output:   map[[2]string][]string{},
		parents:  map[[2]string]bool{},
		failedIn: map[string]int{},
		specs:    map[[2]string]counts{},
	}
}

// read consumes the output of `go test -json` until it ends.
func (c *counter) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			c.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *counter) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(c.out, line) // not an event: a message of the go command
		return
	}
	switch e.Action {
	case "run":
		c.run(e)
	case "output":
		c.keep(e)
	case "build-output":
		fmt.Fprint(c.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			c.endPackage(e)
			return
		}
		c.endTest(e)
	}
}

func (c *counter) run(e event) {
	if i := strings.LastIndex(e.Test, "/"); i > 0 {
		c.parents[[2]string{e.Package, e.Test[:i]}] = true
	}
}

func (c *counter) keep(e event) {
	if c.verbose && e.Test != "" {
		fmt.Fprint(c.out, e.Output)
	}
	key := [2]string{e.Package, e.Test}
	c.output[key] = append(c.output[key], e.Output)
	if found := specLine.FindStringSubmatch(e.Output); found != nil {
		c.specs[key] = counts{
			Passed:  number(found[1]),
			Failed:  number(found[2]),
			Skipped: number(found[3]) + number(found[4]),
		}
	}
}

// specLine is how a Ginkgo suite, one test to the go command, sums up its specs.
var specLine = regexp.MustCompile(`(\d+) Passed.*\| .*?(\d+) Failed.*\| .*?(\d+) Pending.*\| .*?(\d+) Skipped`)

func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0 // too large to be a count
	}
	return n
}

func (c *counter) endTest(e event) {
	key := [2]string{e.Package, e.Test}
	lines := c.output[key]
	delete(c.output, key)
	parent := c.parents[key]
	switch {
	case e.Action == "fail":
		if !c.verbose {
			fmt.Fprint(c.out, strings.Join(lines, ""))
		}
		if parent && c.failedBelow(e) {
			return
		}
		specs := c.specs[key]
		specs.Failed = max(specs.Failed, 1)
		c.total = c.total.plus(specs)
		c.failedIn[e.Package]++
		c.failedIn[e.Package+" "+e.Test]++
	case parent:
	case c.specs[key] != counts{}:
		c.total = c.total.plus(c.specs[key])
	case e.Action == "skip":
		c.total.Skipped++
		fmt.Fprintf(c.out, "skipped: %s %s\n", e.Package, e.Test)
	default:
		c.total.Passed++
	}
}

// failedBelow reports whether a subtest of the test failed.
func (c *counter) failedBelow(e event) bool {
	prefix := e.Package + " " + e.Test + "/"
	for name := range c.failedIn {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// endPackage prints the result of a package. One that failed without a failed
// test (it did not build, it crashed) counts as one failure, with its output.
func (c *counter) endPackage(e event) {
	switch e.Action {
	case "fail":
		if c.failedIn[e.Package] == 0 {
			c.total.Failed++
			c.printUnended(e.Package)
		}
		fmt.Fprintf(c.out, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
	case "pass":
		fmt.Fprintf(c.out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
	}
	c.forget(e.Package)
}

// printUnended prints what a package and its tests said that never ended.
func (c *counter) printUnended(pkg string) {
	for key, lines := range c.output {
		if key[0] == pkg {
			fmt.Fprint(c.out, strings.Join(lines, ""))
		}
	}
}

func (c *counter) forget(pkg string) {
	for key := range c.output {
		if key[0] == pkg {
			delete(c.output, key)
		}
	}
}
