package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestStacked: whatever ends services, they stop from the top, one by one.
func TestStacked(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		fail string // the service that fails; "" for a stop from outside
		want []string
	}{
		{name: "stop", want: []string{"clients", "members", "disk"}},
		{name: "the top fails", fail: "clients", want: []string{"clients", "members", "disk"}},
		{name: "the middle fails", fail: "members", want: []string{"members", "clients", "disk"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan string, 3)
				named := func(name string) service {
					return func(ctx context.Context) error {
						defer func() { ended <- name }()
						if name == tt.fail {
							return broken
						}
						<-ctx.Done()
						time.Sleep(time.Second) // the one below goes on meanwhile
						return nil
					}
				}
				if tt.fail == "" {
					time.AfterFunc(time.Minute, cancel)
				}
				err := stacked(ctx, named("disk"), named("members"), named("clients"))
				if want := tt.fail != ""; errors.Is(err, broken) != want || !want && err != nil {
					t.Errorf("stacked = %v, want an error: %v", err, want)
				}
				if got := []string{<-ended, <-ended, <-ended}; !slices.Equal(got, tt.want) {
					t.Errorf("stopped %q, want %q", got, tt.want)
				}
			})
		})
	}
}
