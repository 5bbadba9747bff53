package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bindings are the numbers a conversation has met so far.
type Bindings map[string]uint64

// hole finds <any>, <int>, <int:name> and <time> in an expected text.
var hole = regexp.MustCompile(`<(any|time|int)(?::(\w+))?>`)

// variable finds ${name} in a text to be sent or expected.
var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// Expand replaces ${name} by the number bound to it.
func (b Bindings) Expand(text string) (string, error) {
	var err error
	out := variable.ReplaceAllStringFunc(text, func(v string) string {
		n, ok := b[v[2:len(v)-1]]
		if !ok {
			err = fmt.Errorf("%s was never bound", v)
		}
		return strconv.FormatUint(n, 10)
	})
	return out, err
}

// Text compares a text with a pattern.
func (b Bindings) Text(pattern, got string) error {
	pattern, err := b.Expand(pattern)
	if err != nil {
		return err
	}
	expr, pos := "", 0
	holes := hole.FindAllStringSubmatchIndex(pattern, -1)
	for _, h := range holes {
		expr += regexp.QuoteMeta(pattern[pos:h[0]]) + map[string]string{
			"any": "((?s:.*?))", "int": "([0-9]+)", "time": `(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*?)`,
		}[pattern[h[2]:h[3]]]
		pos = h[1]
	}
	re, err := regexp.Compile("^" + expr + regexp.QuoteMeta(pattern[pos:]) + "$")
	if err != nil {
		return err
	}
	m := re.FindStringSubmatch(got)
	if m == nil {
		return fmt.Errorf("%q, want %q", got, pattern)
	}
	for i, h := range holes {
		name := ""
		if h[4] >= 0 {
			name = pattern[h[4]:h[5]]
		}
		if err := b.fits(pattern[h[2]:h[3]], name, m[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// fits checks the text of one hole and binds its name.
func (b Bindings) fits(kind, name, text string) error {
	switch kind {
	case "time":
		_, err := time.Parse(time.RFC3339Nano, text)
		return err
	case "int":
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		if was, ok := b[name]; ok && name != "" && was != n {
			return fmt.Errorf("<int:%s> is %d, was %d before", name, n, was)
		}
		if name != "" {
			b[name] = n
		}
	}
	return nil
}

// JSON compares a body with the pattern of a JSON value: an object must have
// exactly the members of the pattern ("name?" may be missing), and lists of nodes
// are compared in the order of their keys.
func (b Bindings) JSON(pattern json.RawMessage, body []byte) error {
	want, err := decode(pattern)
	if err != nil {
		return err
	}
	if text, ok := want.(string); ok {
		return b.Text(text, string(body))
	}
	got, err := decode(body)
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w: %.300q", err, body)
	}
	return b.value("body", want, got)
}

func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// value compares one JSON value; at names it in a failure.
func (b Bindings) value(at string, want, got any) error {
	switch w := want.(type) {
	case string:
		var text string
		switch g := got.(type) {
		case string:
			text = g
		case json.Number:
			if !hole.MatchString(w) && !variable.MatchString(w) {
				return fmt.Errorf("%s is the number %v, want the text %q", at, g, w)
			}
			text = g.String()
		default:
			if w == "<any>" {
				return nil
			}
			return fmt.Errorf("%s is %v, want %q", at, got, w)
		}
		if err := b.Text(w, text); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	case map[string]any:
		if choices, ok := w["<oneof>"].([]any); ok {
			return b.oneOf(at, choices, got)
		}
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, want an object", at, got)
		}
		return b.object(at, w, g)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Errorf("%s is %v, want %v", at, got, want)
		}
		return b.list(at, w, g)
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("%s is %v, want %v", at, got, want)
	}
	return nil
}

func (b Bindings) object(at string, want, got map[string]any) error {
	known := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		plain := strings.TrimSuffix(name, "?")
		known[plain] = true
		v, ok := got[plain]
		if !ok && plain == name {
			return fmt.Errorf("%s has no %q", at, plain)
		}
		if !ok {
			continue
		}
		if err := b.value(at+"."+plain, want[name], v); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !known[name] {
			return fmt.Errorf("%s has the further member %q", at, name)
		}
	}
	return nil
}

func (b Bindings) list(at string, want, got []any) error {
	want, got = byKey(want), byKey(got)
	for i := range want {
		if err := b.value(fmt.Sprintf("%s[%d]", at, i), want[i], got[i]); err != nil {
			return err
		}
	}
	return nil
}

// byKey sorts nodes by length of key and key, so that the order of a listing does
// not matter. Lists of anything else stay as they are.
func byKey(list []any) []any {
	key := func(v any) (string, bool) {
		o, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		k, ok := o["key"].(string)
		return k, ok
	}
	for _, v := range list {
		if _, ok := key(v); !ok {
			return list
		}
	}
	return slices.SortedStableFunc(slices.Values(list), func(x, y any) int {
		a, _ := key(x)
		b, _ := key(y)
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

func (b Bindings) oneOf(at string, choices []any, got any) error {
	var bad []error
	for _, c := range choices {
		try := maps.Clone(b)
		err := try.value(at, c, got)
		if err == nil {
			maps.Copy(b, try)
			return nil
		}
		bad = append(bad, err)
	}
	return errors.Join(bad...)
}
