package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// sortNodes sorts every "nodes" array of a JSON text by the key of its elements
// and leaves every other byte as it came. A text that is not JSON is returned
// unchanged.
func sortNodes(text string) string {
	var raw json.RawMessage
	if json.Unmarshal([]byte(text), &raw) != nil {
		return text
	}
	tail := text[len(strings.TrimRight(text, "\n")):]
	return string(sortValue(raw, false)) + tail
}

// sortValue writes a value out again, member by member; isNodes says that it is
// the value of a member called "nodes".
func sortValue(raw json.RawMessage, isNodes bool) []byte {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '{':
		return sortObject(raw)
	case '[':
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return raw
		}
		for i := range items {
			items[i] = sortValue(items[i], false)
		}
		if isNodes {
			slices.SortStableFunc(items, func(a, b json.RawMessage) int { return cmp.Compare(keyOf(a), keyOf(b)) })
		}
		return slices.Concat([]byte("["), bytes.Join(asBytes(items), []byte(",")), []byte("]"))
	}
	return raw
}

// sortObject keeps the order of the members, which json.Unmarshal would lose.
func sortObject(raw json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	out := []byte("{")
	_, err := d.Token() // {
	for err == nil && d.More() {
		from := d.InputOffset()
		var name json.Token
		if name, err = d.Token(); err != nil {
			break
		}
		head := bytes.TrimLeft(raw[from:d.InputOffset()], ", ")
		var v json.RawMessage
		if err = d.Decode(&v); err != nil {
			break
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, head...), ':')
		out = append(out, sortValue(v, name == "nodes")...)
	}
	if err != nil {
		return raw
	}
	return append(out, '}')
}

func keyOf(raw json.RawMessage) string {
	var n struct {
		Key string `json:"key"`
	}
	_ = json.Unmarshal(raw, &n) // an element without a key sorts first
	return n.Key
}

func asBytes(items []json.RawMessage) [][]byte {
	out := make([][]byte, len(items))
	for i, v := range items {
		out[i] = v
	}
	return out
}
