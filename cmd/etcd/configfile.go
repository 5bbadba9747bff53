package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// configFileMax is how long a configuration file may be, in bytes. It keeps a
// wrong path, such as that of a device, from filling the memory.
const configFileMax = 1 << 20

// fileSetting is one setting as a configuration file has it.
type fileSetting struct {
	key   string // as written; inside a map with the name of the map before it
	flag  string // the flag it stands for; "" when it is known and has no effect
	value string
	line  int
}

// lineError is a mistake in a line of a configuration file.
type lineError struct {
	line int // from 1
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("%d: %s", e.line, e.text) }

// fromFile sets the flags that neither the command line nor the environment set
// from the configuration file, if there is one. The notes name the file and each
// key in it that has no effect.
func (o *options) fromFile() ([]note, error) {
	path := o.configFile
	if path == "" {
		return nil, nil
	}
	text, err := readAtMost(path, configFileMax)
	if err != nil {
		return nil, err
	}
	notes := []note{{slog.LevelInfo, fmt.Sprintf("Loading server configuration from %q. Flags and environment variables that are given too take precedence.", path)}}
	settings, err := parseConfigFile(text, o.flags)
	if err != nil {
		return notes, inFile(path, err)
	}
	for _, s := range settings {
		if s.flag == "" {
			notes = append(notes, warning("%s:%d: %s is a setting of etcd 3 and has no effect", path, s.line, s.key))
			continue
		}
		if err := o.setFromFile(path, s); err != nil {
			return notes, inFile(path, err)
		}
	}
	return notes, nil
}

// inFile puts the name of the file before a mistake in it.
func inFile(path string, err error) error {
	if bad, ok := errors.AsType[*lineError](err); ok {
		return fmt.Errorf("%s:%w", path, bad)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// setFromFile gives one setting to its flag, unless that has been given already.
func (o *options) setFromFile(path string, s fileSetting) error {
	f := o.flags.Lookup(s.flag)
	if f.Changed {
		return nil
	}
	if err := f.Value.Set(s.value); err != nil {
		why := err.Error()
		if strings.Contains(f.Value.Type(), "|") {
			why = "want one of " + strings.ReplaceAll(f.Value.Type(), "|", ", ")
		}
		return &lineError{s.line, fmt.Sprintf("invalid value %q for %s: %s", s.value, s.key, why)}
	}
	f.Changed = true
	o.sources[s.flag] = source{path, s.line}
	return nil
}

// readAtMost reads a file that has at most max bytes.
func readAtMost(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(text)) > max {
		err = fmt.Errorf("%s: a configuration file has at most %d bytes", path, max)
	}
	return text, err
}

// parseConfigFile reads a configuration file of the form of etcd 3: one YAML
// document, or JSON, which is YAML too, that maps keys to values. Keys are the
// names of our flags and those that etcd 3.4 knows; any other is an error that
// names the nearest one. A key with an empty value counts as left out, as an
// empty variable does.
func parseConfigFile(text []byte, flags *pflag.FlagSet) ([]fileSetting, error) {
	top, err := loadDocument(text)
	if err != nil || isNull(top) {
		return nil, err
	}
	r := &fileReader{flags: flags, known: knownKeys(flags), lines: make(map[string]int)}
	if err := r.readMap(top, ""); err != nil {
		return nil, err
	}
	return r.settings, nil
}

// loadDocument returns what the only document in a text holds, nothing when there
// are no more than comments.
func loadDocument(text []byte) (*yaml.Node, error) {
	documents, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var first, second yaml.Node
	switch err := documents.Load(&first); {
	case errors.Is(err, io.EOF):
		return &first, nil
	case err != nil:
		return nil, atLine(err)
	}
	switch err := documents.Load(&second); {
	case err == nil:
		return nil, &lineError{second.Line, "a second document begins; a configuration file has one"}
	case !errors.Is(err, io.EOF):
		return nil, atLine(err)
	}
	if first.Kind == yaml.DocumentNode && len(first.Content) > 0 {
		return first.Content[0], nil
	}
	return &first, nil
}

// atLine names the line of a mistake in the YAML itself.
func atLine(err error) error {
	if bad, ok := errors.AsType[*yaml.LoadError](err); ok && bad.Mark.Line > 0 {
		return &lineError{bad.Mark.Line, "not YAML: " + bad.Message}
	}
	return err
}

// fileReader gathers the settings of one file.
type fileReader struct {
	flags    *pflag.FlagSet
	known    map[string]string
	lines    map[string]int // where a setting was given, by flag or key
	settings []fileSetting
}

// readMap reads the whole document or, with its name, one of the maps in it.
func (r *fileReader) readMap(m *yaml.Node, name string) error {
	if m.Kind != yaml.MappingNode {
		return &lineError{max(m.Line, 1), cmp.Or(name, "the file") + " has to be a map of keys to values"}
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return &lineError{key.Line, "a key has to be a word"}
		}
		if err := r.read(key, value, name); err != nil {
			return err
		}
	}
	return nil
}

// read reads one key, of the document or of the map with the name.
func (r *fileReader) read(key, value *yaml.Node, name string) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if _, isMap := transportSecurity[key.Value]; isMap && name == "" {
		if isNull(value) {
			return nil
		}
		return r.readMap(value, key.Value)
	}
	s, known := fileSetting{key: key.Value, line: key.Line}, r.known
	if name != "" {
		s.key, known = name+"."+key.Value, transportSecurity[name]
	}
	flag, ok := known[key.Value]
	if !ok {
		return &lineError{key.Line, fmt.Sprintf("unknown key %q; the nearest known one is %q", key.Value, nearest(key.Value, known))}
	}
	s.flag = flag
	given := cmp.Or(flag, s.key)
	if first := r.lines[given]; first != 0 {
		return &lineError{key.Line, fmt.Sprintf("%s is given already in line %d", s.key, first)}
	}
	r.lines[given] = key.Line
	if flag != "" {
		var err error
		if s.value, err = textOf(value, r.flags.Lookup(flag).Value.Type()); err != nil {
			return &lineError{key.Line, fmt.Sprintf("invalid value for %s: %v", s.key, err)}
		}
		if s.value == "" {
			return nil
		}
	}
	r.settings = append(r.settings, s)
	return nil
}

// textOf is a value in the form that the flag of this kind takes on the command
// line. Lists may be written as such.
func textOf(value *yaml.Node, kind string) (string, error) {
	list := kind == kindURLs || kind == kindOrigins
	switch {
	case isNull(value):
		return "", nil
	case value.Kind == yaml.ScalarNode && kind == kindBool:
		var b bool // yes, no, on and off count here
		if value.Value == "" || value.Decode(&b) != nil {
			return value.Value, nil // the flag refuses it
		}
		return fmt.Sprint(b), nil
	case value.Kind == yaml.ScalarNode:
		return value.Value, nil
	case value.Kind == yaml.SequenceNode && list:
		var items []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("a list has to be one of texts")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	case list:
		return "", errors.New("want a text or a list of texts")
	}
	return "", errors.New("want a single value")
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// nearest is the known key that differs least from the word; of several the
// first in the alphabet.
func nearest(word string, known map[string]string) string {
	best, distance := "", 0
	for key := range known {
		d := editDistance(word, key)
		if best == "" || d < distance || d == distance && key < best {
			best, distance = key, d
		}
	}
	return best
}

// editDistance counts the letters to insert, remove or replace between a and b
// (Levenshtein). Of a it looks at the start only, which is enough to tell words
// apart and bounds the work.
func editDistance(a, b string) int {
	a = a[:min(len(a), 100)]
	row := make([]int, len(b)+1) // distances of what we have of a to the starts of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{replace, row[j] + 1, row[j+1] + 1})
		}
	}
	return row[len(b)]
}
