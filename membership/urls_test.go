package membership

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseURLs(t *testing.T) {
	tests := []struct {
		list string
		want []string
		err  string // start of the error text, "" when the list is good
	}{
		{list: "http://b:2, http://a:1", want: []string{"http://a:1", "http://b:2"}},
		{list: "https://a:1,http://z:1", want: []string{"http://z:1", "https://a:1"}},
		{list: "http://:80", want: []string{"http://:80"}},
		{list: "http://[::1]:80", want: []string{"http://[::1]:80"}},
		{list: "HTTP://host:80", want: []string{"http://host:80"}},
		{list: "", err: "URL scheme must be http or https: "},
		{list: "http://a:1,", err: "URL scheme must be http or https: "},
		{list: "ftp://x:1", err: "URL scheme must be http or https: ftp://x:1"},
		{list: "unix://x:1", err: "URL scheme must be http or https: unix://x:1"},
		{list: "http://127.0.0.1", err: `URL address does not have the form "host:port": http://127.0.0.1`},
		{list: "http://", err: `URL address does not have the form "host:port": http://`},
		{list: "http://h:1/", err: "URL must not contain a path: http://h:1/"},
		{list: " http://h:1/x ", err: "URL must not contain a path: http://h:1/x"},
		{list: "127.0.0.1:80", err: `parse "127.0.0.1:80": `},
		{list: "http://h:port", err: `parse "http://h:port": `},
	}
	for _, tt := range tests {
		got, err := ParseURLs(tt.list)
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("ParseURLs(%q): %v", tt.list, err)
		case tt.err == "" && !slices.Equal(got, tt.want):
			t.Errorf("ParseURLs(%q) = %q, want %q", tt.list, got, tt.want)
		case tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)):
			t.Errorf("ParseURLs(%q): error %v, want %q", tt.list, err, tt.err)
		}
	}
	if _, err := CheckURLs(nil); !errors.Is(err, ErrNoURLs) {
		t.Errorf("CheckURLs(nil): error %v, want ErrNoURLs", err)
	}
}

func TestParsePeers(t *testing.T) {
	tests := []struct {
		text string
		want string // printed form
		err  string // start of the error text
	}{
		{text: "", want: ""},
		{text: ",,a=http://h:1,", want: "a=http://h:1"},
		{text: "b=http://h:2,a=http://h:9,b=http://h:1", want: "a=http://h:9,b=http://h:1,b=http://h:2"},
		{text: "a=http://h:1, a=http://h:2", want: " a=http://h:2,a=http://h:1"},
		{text: "=http://h:1", want: "=http://h:1"},
		{text: "a", err: "URL scheme must be http or https: "},
		{text: "a=http://localhost", err: `URL address does not have the form "host:port": http://localhost`},
		{text: "a=http://h:1/x", err: "URL must not contain a path: http://h:1/x"},
	}
	for _, tt := range tests {
		got, err := ParsePeers(tt.text)
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("ParsePeers(%q): %v", tt.text, err)
		case tt.err == "" && got.String() != tt.want:
			t.Errorf("ParsePeers(%q) prints as %q, want %q", tt.text, got, tt.want)
		case tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)):
			t.Errorf("ParsePeers(%q): error %v, want %q", tt.text, err, tt.err)
		}
	}
}

func FuzzParsePeers(f *testing.F) {
	f.Add(seed004)
	f.Add(",,a=http://[::1]:1,b")
	f.Fuzz(func(t *testing.T, text string) {
		peers, err := ParsePeers(text)
		if err != nil {
			return
		}
		again, err := ParsePeers(peers.String())
		if err != nil {
			t.Fatalf("ParsePeers(%q): its printed form %q fails: %v", text, peers, err)
		}
		if again.String() != peers.String() {
			t.Fatalf("ParsePeers(%q) prints as %q, which reads as %q", text, peers, again)
		}
	})
}
