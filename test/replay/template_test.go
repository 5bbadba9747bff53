package replay

import (
	"strings"
	"testing"
	"time"
)

func facts() *Facts {
	return &Facts{URL: "http://h:1", Index: 3, K: 2, Stats: map[string]int64{"setsSuccess": 2}}
}

func TestExpand(t *testing.T) {
	tests := []struct{ template, want string }{
		{"/v2/keys/foo", "/v2/keys/foo"},
		{"a${I}b", "a3b"},
		{"${I+5}-${I-2}", "8-1"},
		{"${P+7}", "00000000000000000010"},
		{"${k}", "2"},
		{"${I+1+k}", "6"},
		{"${S:setsSuccess+1} ${S:unknown}", "3 0"},
		{"${REP 3 ab}", "ababab"},
		{"${URL}/x", "http://h:1/x"},
	}
	for _, tt := range tests {
		if got, err := facts().Expand(tt.template); got != tt.want || err != nil {
			t.Errorf("Expand(%q) = %q, %v, want %q", tt.template, got, err, tt.want)
		}
	}
	if got, err := facts().Expand("${INT}"); err == nil {
		t.Errorf("Expand(${INT}) = %q, want an error: its value is not known", got)
	}
}

func TestMatch(t *testing.T) {
	sent := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, template, text string
		ok                   bool
	}{
		{"literal", "a{}", "a{}", true},
		{"more text", "a", "ab", false},
		{"less text", "ab", "a", false},
		{"index", `"index":${I+1}}`, `"index":4}`, true},
		{"index of another", `"index":${I+1}}`, `"index":5}`, false},
		{"number", "x${INT}y", "x-12y", true},
		{"no number", "x${INT}y", "xy", false},
		{"number in bounds", "${INT 98..100}", "98", true},
		{"number out of bounds", "${INT 98..100}", "97", false},
		{"number before a digit", "${INT}7", "1277", true},
		{"hex", "${HEX}", "cafe01", true},
		{"hex too long", "${HEX}", "01234567012345678", false},
		{"anything", "a${ANY}c", "abcc", true},
		{"anything but a newline", "a${ANY}c", "a\nc", false},
		{"time", "${TIME}", "2026-11-20T20:48:15.30686117Z", true},
		{"time with a trailing zero", "${TIME}", "2026-11-20T20:48:15.30Z", false},
		{"one time twice", "${TIME:a} ${TIME:a}", "2026-11-20T20:48:15Z 2026-11-20T20:48:15Z", true},
		{"two times under one name", "${TIME:a} ${TIME:a}", "2026-11-20T20:48:15Z 2026-11-20T20:48:16Z", false},
		{"time at a distance", "${TIME:a:100}", "2026-01-02T03:05:46Z", true},
		{"time too far", "${TIME:a:100}", "2026-01-02T03:05:49Z", false},
	}
	for _, tt := range tests {
		if err := facts().Match(tt.template, tt.text, sent); (err == nil) != tt.ok {
			t.Errorf("%s: Match(%q, %q) = %v, want a match: %v", tt.name, tt.template, tt.text, err, tt.ok)
		}
	}
}

func TestMatchBindsTimesOnlyOnSuccess(t *testing.T) {
	f := facts()
	if err := f.Match("${TIME:a}!", "2026-11-20T20:48:15Z?", time.Now()); err == nil {
		t.Fatal("a wrong text matched")
	}
	if err := f.Match("${TIME:a}", "2026-11-20T20:48:16Z", time.Now()); err != nil {
		t.Fatalf("a failed match bound a name: %v", err)
	}
	if err := f.Match("${TIME:a}", "2026-11-20T20:48:17Z", time.Now()); err == nil {
		t.Error("a later time matched a bound name")
	}
}

func TestSortNodes(t *testing.T) {
	in := `{"action":"get","node":{"dir":true,"nodes":[{"key":"/b","v": 1},{"key":"/a","nodes":[{"key":"/a/2"},{"key":"/a/1"}]}],"n":12345678901234567890}}` + "\n"
	want := `{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","nodes":[{"key":"/a/1"},{"key":"/a/2"}]},{"key":"/b","v":1}],"n":12345678901234567890}}` + "\n"
	if got := sortNodes(in); got != want {
		t.Errorf("sortNodes = %s, want %s", got, want)
	}
	if got := sortNodes("404 page"); got != "404 page" {
		t.Errorf("sortNodes(no JSON) = %q", got)
	}
	if got := sortNodes(strings.Repeat("[", 3)); got != "[[[" {
		t.Errorf("sortNodes(broken JSON) = %q", got)
	}
}
