package main

import (
	"slices"
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
