// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// conditionNames compares the condition types and reasons of the code with the
// tables of docs/conditions.md, both ways.
func conditionNames(_ context.Context, t tree) error {
	source, err := os.ReadFile(t.path("apis/v1alpha1/conditions.go"))
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(t.path("docs/conditions.md"))
	if err != nil {
		return err
	}
	inCode, err := constants(source, "Condition", "Reason")
	if err != nil {
		return err
	}
	return compare("docs/conditions.md", tableNames(string(doc)), "the code", inCode)
}

// guardName is a guard in the list of them.
var guardName = regexp.MustCompile(`(?m)^\t\{"([A-Z][A-Za-z]+)", [a-z][A-Za-z]*\},$`)

// guardNames compares the guards of a failover with the table of docs/failover.md.
func guardNames(_ context.Context, t tree) error {
	source, err := os.ReadFile(t.path("controllers/group/failover.go"))
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(t.path("docs/failover.md"))
	if err != nil {
		return err
	}
	inCode := map[string]bool{}
	for _, guard := range guardName.FindAllStringSubmatch(string(source), -1) {
		inCode[guard[1]] = true
	}
	if len(inCode) == 0 {
		return errors.New("no guards found in controllers/group/failover.go")
	}
	return compare("docs/failover.md", tableNames(string(doc)), "the code", inCode)
}

// constants returns the values of the string constants whose names have one of
// the prefixes.
func constants(source []byte, prefixes ...string) (map[string]bool, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	values := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !hasPrefix(spec.Names[0].Name, prefixes) {
			return true
		}
		for _, value := range spec.Values {
			if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					values[text] = true
				}
			}
		}
		return true
	})
	return values, nil
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}

// tableRow is a row of a Markdown table that starts with one name in backticks.
var tableRow = regexp.MustCompile("(?m)^\\|\\s*`([A-Za-z0-9]+)`\\s*\\|")

// tableNames returns what the tables of a document describe.
func tableNames(doc string) map[string]bool {
	names := map[string]bool{}
	for _, row := range tableRow.FindAllStringSubmatch(doc, -1) {
		names[row[1]] = true
	}
	return names
}

// compare names what one side has and the other lacks.
func compare(leftName string, left map[string]bool, rightName string, right map[string]bool) error {
	return errors.Join(
		lacks(leftName, left, rightName, right),
		lacks(rightName, right, leftName, left),
	)
}

func lacks(name string, have map[string]bool, otherName string, others map[string]bool) error {
	var missing []string
	for _, other := range slices.Sorted(maps.Keys(others)) {
		if !have[other] {
			missing = append(missing, other)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s lacks what %s has: %s", name, otherName, strings.Join(missing, ", "))
}
