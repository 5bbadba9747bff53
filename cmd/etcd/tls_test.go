package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestSecureHosts(t *testing.T) {
	tests := []struct {
		name              string
		listen, advertise []string
		want              []string
	}{
		{"no port is secure", []string{"http://a:1"}, []string{"https://b:1"}, nil},
		{"all addresses", []string{"https://0.0.0.0:1", "https://[::]:1", "https://:1"}, []string{"https://m1:1"}, []string{"localhost", "127.0.0.1", "::1", "m1"}},
		{"one of each", []string{"http://a:1", "https://10.0.0.1:1"}, []string{"http://a:1", "https://10.0.0.1:1"}, []string{"localhost", "127.0.0.1", "::1", "10.0.0.1"}},
		{"an address of one link", []string{"https://[fe80::1%25eth0]:1"}, nil, []string{"localhost", "127.0.0.1", "::1"}},
	}
	for _, tt := range tests {
		if got := secureHosts(tt.listen, tt.advertise); !slices.Equal(got, tt.want) {
			t.Errorf("%s: secureHosts(%v, %v) = %v, want %v", tt.name, tt.listen, tt.advertise, got, tt.want)
		}
	}
}

func TestWarnOpen(t *testing.T) {
	tests := []struct {
		urls []string
		want string // the URL that the warning names
	}{
		{[]string{"http://localhost:2380", "http://127.0.0.1:2380", "http://[::1]:2380"}, ""},
		{[]string{"https://10.0.0.1:2380"}, ""},
		{[]string{"http://127.0.0.1:2380", "http://10.0.0.1:2380", "http://10.0.0.2:2380"}, "http://10.0.0.1:2380"},
		{[]string{"http://0.0.0.0:2380"}, "http://0.0.0.0:2380"},
		{[]string{"http://[::]:2380"}, "http://[::]:2380"},
		{[]string{"http://:2380"}, "http://:2380"},
		{[]string{"https://10.0.0.1:2380", "http://n1.example.com:2380"}, "http://n1.example.com:2380"},
	}
	for _, tt := range tests {
		var out strings.Builder
		s := side{log: slog.New(slog.NewTextHandler(&out, nil))}
		s.warnOpen(tt.urls)
		want := 0
		if tt.want != "" {
			want = 1
		}
		if strings.Count(out.String(), "level=WARN") != want || !strings.Contains(out.String(), tt.want) ||
			want == 1 && !strings.Contains(out.String(), "--peer-client-cert-auth") {
			t.Errorf("warnOpen(%v) logs %q, want %d warning about %q", tt.urls, out.String(), want, tt.want)
		}
	}
}
