package rival

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
)

var (
	isRival = regexp.MustCompile(`^etcd Version: 3\.4\.`)

	address    = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	expiration = regexp.MustCompile(`"expiration":"[^"]*"`)
	lifetime   = regexp.MustCompile(`"ttl":\d+,`)
)

// own are headers that name the server or the moment, and those that 3.4 adds to
// every answer.
var own = []string{
	"Date", "X-Etcd-Cluster-Id", "X-Raft-Index", "X-Raft-Term",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Allow-Headers",
}

// compare says what differs between two answers, or "".
func compare(m message, ours, theirs reply) string {
	switch {
	case (ours.err == nil) != (theirs.err == nil):
		return "one did not answer in full"
	case ours.status != theirs.status:
		return "the status"
	case !reflect.DeepEqual(headers(m, ours), headers(m, theirs)):
		return "the headers"
	case !same(ours.body, theirs.body):
		return "the body"
	}
	return ""
}

// headers leaves out what no two servers share. Times and directories, whose
// modifiedIndex may differ, make bodies of different lengths.
func headers(m message, r reply) http.Header {
	h := r.header.Clone()
	h.Del("X-Etcd-Read") // of ours, on quorum reads
	for _, name := range own {
		if name[0] == 'X' && h.Get(name) != "" {
			h.Set(name, "present")
			continue
		}
		h.Del(name)
	}
	if m.head || strings.Contains(r.body, `"expiration"`) || strings.Contains(r.body, `"dir":true`) {
		h.Del("Content-Length")
	}
	return h
}

// same compares two bodies. Listings without sorted=true have any order, times
// differ a little, and 3.4 writes two control characters at length.
func same(ours, theirs string) bool {
	even := func(body string) string {
		body = address.ReplaceAllString(body, "address")
		body = expiration.ReplaceAllString(body, `"expiration":"moment"`)
		return lifetime.ReplaceAllString(body, "")
	}
	ours, theirs = even(ours), even(theirs)
	theirs = strings.NewReplacer(`\u0008`, `\b`, `\u000c`, `\f`).Replace(theirs)
	if ours == theirs {
		return true
	}
	var a, b any
	if json.Unmarshal([]byte(ours), &a) != nil || json.Unmarshal([]byte(theirs), &b) != nil {
		return false
	}
	return reflect.DeepEqual(loosen(a), loosen(b))
}

// loosen makes a listing independent of its order and forgets the modifiedIndex of
// directories, which 3.4 does not store when one is updated.
func loosen(v any) any {
	node, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for name, member := range node {
		node[name] = loosen(member)
	}
	if children, ok := node["nodes"].([]any); ok {
		byKey := make(map[any]any, len(children))
		for _, child := range children {
			if child, ok := loosen(child).(map[string]any); ok {
				byKey[child["key"]] = child
			}
		}
		node["nodes"] = byKey
	}
	if node["dir"] == true {
		delete(node, "modifiedIndex")
	}
	return node
}

// sameEvents compares what two watches have sent. A stream of 3.4 on exactly the
// key that is deleted repeats that event.
func sameEvents(m message, ours, theirs string) bool {
	if differsFromHistory(m, ours, theirs) {
		return true
	}
	a, b := strings.SplitAfter(ours, "\n"), once(strings.SplitAfter(theirs, "\n"))
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}

// once drops lines that repeat the one before.
func once(lines []string) []string {
	var out []string
	for i, line := range lines {
		if i == 0 || line != lines[i-1] {
			out = append(out, line)
		}
	}
	return out
}

// eventKey finds the action and the key in an event.
var eventKey = regexp.MustCompile(`^{"action":"(\w+)","node":{"key":"([^"]*)"`)

// differsFromHistory reports whether a watch fell under the rules by which 3.4
// looks for events of the past: its streams die after the first, it shows hidden
// keys to those above, and it compares the key of a removed directory as text.
func differsFromHistory(m message, ours, theirs string) bool {
	if !m.past {
		return false
	}
	first, _, _ := strings.Cut(theirs, "\n")
	if m.stream && first+"\n" == theirs {
		mine, _, _ := strings.Cut(ours, "\n")
		if same(mine, first) {
			return true
		}
	}
	found := eventKey.FindStringSubmatch(first)
	if found == nil {
		return false
	}
	action, key := found[1], found[2]
	watched := strings.TrimSuffix(m.key, "/")
	below, isBelow := strings.CutPrefix(key, watched+"/")
	hidden := isBelow && strings.Contains("/"+below, "/_")
	asText := (action == "delete" || action == "expire") && strings.HasPrefix(watched, key) && !strings.HasPrefix(watched+"/", key+"/")
	return hidden || asText
}
