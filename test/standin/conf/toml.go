// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"encoding"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// LoadFile sets the fields of the struct that v points to from a flat TOML file, by their "toml" or else "json" tags.
// Fields without a line keep their value, lines without a field are ignored.
func LoadFile(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return Load(string(b), v)
}

// Load is LoadFile on a text.
func Load(text string, v any) error {
	fields := tagged(reflect.ValueOf(v).Elem())
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			return nil
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("line %d: expected key = value", i+1)
		}
		key, err := name(key, seen)
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		literal, quoted, err := literal(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		field, ok := fields[strings.ToLower(key)]
		if !ok {
			continue
		}
		if err := assign(field, literal, quoted); err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, key, err)
		}
	}
	return nil
}

var (
	bareKey  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	bareWord = regexp.MustCompile(`^(true|false|[+-]?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?|\d{4}-\d\d-\d\d[T ].*|\[.*\])$`)
)

// name returns the key of a line, which no other line may have had.
func name(text string, seen map[string]bool) (string, error) {
	key := strings.Trim(strings.TrimSpace(text), `"'`)
	switch {
	case !bareKey.MatchString(key):
		return "", fmt.Errorf("bad key %q", key)
	case seen[key]:
		return "", fmt.Errorf("key %s is already defined", key)
	}
	seen[key] = true
	return key, nil
}

func tagged(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		if key := keyOf(v.Type().Field(i)); key != "" {
			fields[key] = v.Field(i)
		}
	}
	return fields
}

func keyOf(f reflect.StructField) string {
	key := f.Tag.Get("toml")
	if key == "" {
		key = f.Tag.Get("json")
	}
	if key == "-" {
		return ""
	}
	return key
}

// literal cuts one TOML value off the start of text and checks that only a comment follows it.
func literal(text string) (value string, quoted bool, err error) {
	rest := ""
	switch {
	case strings.HasPrefix(text, `"`):
		q, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", false, fmt.Errorf("bad string")
		}
		if value, err = strconv.Unquote(q); err != nil {
			return "", false, fmt.Errorf("bad string")
		}
		quoted, rest = true, text[len(q):]
	case strings.HasPrefix(text, "'"):
		end := strings.IndexByte(text[1:], '\'')
		if end < 0 {
			return "", false, fmt.Errorf("bad string")
		}
		value, quoted, rest = text[1:end+1], true, text[end+2:]
	default:
		value, _, _ = strings.Cut(text, "#")
		value = strings.TrimSpace(value)
		if !bareWord.MatchString(value) {
			return "", false, fmt.Errorf("bad value %q", value)
		}
		return value, false, nil
	}
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return "", false, fmt.Errorf("unexpected text after a string")
	}
	return value, quoted, nil
}

func assign(field reflect.Value, value string, quoted bool) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](field.Addr()); ok {
		return u.UnmarshalText([]byte(value))
	}
	switch {
	case field.Kind() == reflect.String && quoted:
		field.SetString(value)
		return nil
	case field.Kind() == reflect.Bool && !quoted && (value == "true" || value == "false"):
		field.SetBool(value == "true")
		return nil
	case field.CanInt() && !quoted:
		n, err := strconv.ParseInt(strings.ReplaceAll(value, "_", ""), 10, 64)
		if err != nil || field.OverflowInt(n) {
			return fmt.Errorf("not an integer")
		}
		field.SetInt(n)
		return nil
	}
	return fmt.Errorf("incompatible types: expected a %s", field.Kind())
}

// Dump prints the fields of the struct that v points to as TOML, except those tagged as secret.
func Dump(v any) string {
	var b strings.Builder
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		f := s.Type().Field(i)
		key := keyOf(f)
		if key == "" || f.Tag.Get("secret") != "" {
			continue
		}
		value := s.Field(i).Interface()
		if m, ok := value.(encoding.TextMarshaler); ok {
			if text, err := m.MarshalText(); err == nil {
				value = string(text)
			}
		}
		if text, ok := value.(string); ok {
			value = strconv.Quote(text)
		}
		fmt.Fprintf(&b, "%s = %v\n", key, value)
	}
	return b.String()
}
