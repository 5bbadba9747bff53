package discovery

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
)

// TestComesAgain: a member that was stopped while it waited takes its place again,
// when it knows that it waited; one that does not know has lost its data.
func TestComesAgain(t *testing.T) {
	a, b := memberA(), membership.Member{Name: "b", PeerURLs: []string{"http://127.0.0.1:2390"}}
	tests := []struct {
		name       string
		value      string // what is there under the ID of the member
		registered bool
		err        error
	}{
		{"waited", "a=http://127.0.0.1:2380", true, nil},
		{"lost its data", "a=http://127.0.0.1:2380", false, ErrDuplicateID},
		{"under another name", "c=http://127.0.0.1:2380", true, ErrDuplicateID},
		{"was removed", "", true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(dir+"/_config/size", "2")
				if tt.value != "" {
					m.put(dir+"/"+idOf(a), tt.value)
				}
				go func() {
					time.Sleep(time.Minute)
					m.put(dir+"/"+idOf(b), "b=http://127.0.0.1:2390")
				}()
				calls := 0
				peers, err := Join(t.Context(), URLConfig{
					URL: meetURL, Transport: m, Registered: tt.registered,
					Registering: func() error { calls++; return nil },
				}, a)
				if !errors.Is(err, tt.err) || err == nil && peers.String() != "a=http://127.0.0.1:2380,b=http://127.0.0.1:2390" {
					t.Errorf("Join = %v, %v, want error %v", peers, err, tt.err)
				}
				if want := map[bool]int{true: 1}[tt.value == ""]; calls != want {
					t.Errorf("Registering was called %d times, want %d", calls, want)
				}
				time.Sleep(time.Minute) // the other one arrives in any case
			})
		})
	}
}

// TestListLags: a server that lags does not show a registration, but refuses another
// one. Whose it was, the member has to know.
func TestListLags(t *testing.T) {
	for _, registered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a := memberA()
			m := newMeeting(dir+"/_config/size", "1")
			m.fail = func(n int, r *http.Request) (int, bool, error) {
				if r.Method == http.MethodPut {
					m.put(dir+"/"+idOf(a), "a=http://127.0.0.1:2380")
				}
				return 0, false, nil
			}
			_, err := Join(t.Context(), URLConfig{URL: meetURL, Transport: m, Registered: registered}, a)
			if want := map[bool]error{false: ErrDuplicateID}[registered]; !errors.Is(err, want) {
				t.Errorf("registered %v: Join = %v, want %v", registered, err, want)
			}
		})
	}
}

// TestNotRegistered: what fails before the member registers leaves no trace.
func TestNotRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, full := newMeeting(dir+"/_config/size", "1"), errors.New("disk full")
		_, err := Join(t.Context(), URLConfig{URL: meetURL, Transport: m, Registering: func() error { return full }}, memberA())
		if _, there := m.find(dir + "/" + idOf(memberA())); !errors.Is(err, full) || there {
			t.Errorf("Join = %v, registered: %v, want %v and not", err, there, full)
		}
	})
}
