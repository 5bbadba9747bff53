package replay

import (
	"encoding/json"
	"testing"

	"etcd2/test/proc"
)

func TestSeeds(t *testing.T) {
	for _, file := range recordings(t, "seeds") {
		t.Run(nameOf(file), func(t *testing.T) {
			t.Parallel()
			c, err := LoadConversation(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(c) == 0 || c[0].Setup == nil || c[0].Setup.Members != 1 {
				t.Fatal("this runner has conversations with one running member only")
			}
			talk := NewTalk(proc.Start(t, proc.Options{}))
			defer talk.Close()
			for i, u := range c {
				if d, ok := findTurn(nameOf(file), u.Name); ok {
					if u, err = d.Instead(u); err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
				}
				if err := talk.Run(u); err != nil {
					t.Errorf("step %d %q: %v", i, u.Name, err)
				}
			}
		})
	}
}

func findTurn(file, turn string) (SeedDifference, bool) {
	for _, d := range SeedDifferences() {
		if d.File == file && d.Turn == turn {
			return d, true
		}
	}
	return SeedDifference{}, false
}

func TestPatterns(t *testing.T) {
	tests := []struct {
		name, pattern, body string
		ok                  bool
	}{
		{"text", `"abc"`, `abc`, true},
		{"text with a hole", `"a<int>c"`, `a12c`, true},
		{"object", `{"a":1,"b":"x"}`, `{"b":"x","a":1}`, true},
		{"further member", `{"a":1}`, `{"a":1,"b":2}`, false},
		{"missing member", `{"a":1,"b":2}`, `{"a":1}`, false},
		{"optional member", `{"a":1,"b?":2}`, `{"a":1}`, true},
		{"optional member with another value", `{"a":1,"b?":2}`, `{"a":1,"b":3}`, false},
		{"one number twice", `{"a":"<int:x>","b":"/q/<int:x>"}`, `{"a":7,"b":"/q/0007"}`, true},
		{"two numbers under one name", `{"a":"<int:x>","b":"<int:x>"}`, `{"a":7,"b":8}`, false},
		{"number for a text", `{"a":"7"}`, `{"a":7}`, false},
		{"known number", `{"a":"${known}"}`, `{"a":9}`, true},
		{"time", `{"a":"<time>"}`, `{"a":"2026-11-20T20:48:15.3Z"}`, true},
		{"no time", `{"a":"<time>"}`, `{"a":"2026-13-20T20:48:15Z"}`, false},
		{"nodes in any order", `{"nodes":[{"key":"/a"},{"key":"/bb"}]}`, `{"nodes":[{"key":"/bb"},{"key":"/a"}]}`, true},
		{"one of two", `{"a":{"<oneof>":[1,2]}}`, `{"a":2}`, true},
		{"none of two", `{"a":{"<oneof>":[1,2]}}`, `{"a":3}`, false},
		{"no JSON", `{"a":1}`, `404 page not found`, false},
	}
	for _, tt := range tests {
		b := Bindings{"known": 9}
		if err := b.JSON(json.RawMessage(tt.pattern), []byte(tt.body)); (err == nil) != tt.ok {
			t.Errorf("%s: JSON(%s, %s) = %v, want a match: %v", tt.name, tt.pattern, tt.body, err, tt.ok)
		}
	}
}
