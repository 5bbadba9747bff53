package pause

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Growing{Min: 2 * time.Second, Max: 5 * time.Second}
		var waited []time.Duration
		for i := range 5 {
			if i == 3 {
				g.Reset()
			}
			began := time.Now()
			if err := g.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			waited = append(waited, time.Since(began)/time.Second)
		}
		if want := []time.Duration{2, 4, 5, 2, 4}; !slices.Equal(waited, want) {
			t.Errorf("waited %d, want %d seconds", waited, want)
		}
	})
}

func TestForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { end(why) })
		began := time.Now()
		if err := For(ctx, time.Hour); err != why || time.Since(began) != time.Second {
			t.Errorf("For = %v after %v, want %v after 1s", err, time.Since(began), why)
		}
	})
}
