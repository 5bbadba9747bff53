package cors

import (
	"maps"
	"net/http"
	"testing"
)

func TestAllow(t *testing.T) {
	tests := []struct {
		name    string
		origins []string
		origin  string
		want    string // the origin let in, "" for none
	}{
		{"nobody may", nil, "http://a", ""},
		{"listed", []string{"http://b", "http://a"}, "http://a", "http://a"},
		{"not listed", []string{"http://b"}, "http://a", ""},
		{"only the beginning is listed", []string{"http://a"}, "http://a.example", ""},
		{"no browser", []string{"http://a", ""}, "", ""},
		{"everybody", []string{"http://b", "*"}, "http://a", "*"},
		{"everybody, no browser", []string{"*"}, "", "*"},
	}
	for _, tt := range tests {
		p := New(tt.origins)
		got, want := http.Header{}, http.Header{}
		if tt.want != "" {
			got.Set("Access-Control-Allow-Origin", "http://of.another.layer")
			want.Set("Access-Control-Allow-Origin", tt.want)
			want.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
			want.Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
		}
		p.Allow(got, tt.origin)
		if !maps.EqualFunc(got, want, func(a, b []string) bool { return len(a) == 1 && a[0] == b[0] }) {
			t.Errorf("%s: Allow(%q) = %v, want %v", tt.name, tt.origin, got, want)
		}
	}
}
