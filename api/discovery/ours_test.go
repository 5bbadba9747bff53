package discovery

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	meet "etcd2/discovery"
	"etcd2/membership"
)

// Members of this release meet here as those of others do.
func TestMeetingOfOurOwn(t *testing.T) {
	s, _ := newService(Config{})
	srv := httptest.NewServer(s)
	defer srv.Close()
	made, err := send(t.Context(), "GET", srv.URL+"/new?size=3", "")
	if err != nil {
		t.Fatal(err)
	}
	join := func(i int) (membership.Peers, error) {
		name := fmt.Sprintf("m%d", i)
		self := membership.NewMember(name, []string{"http://" + name + ":2380"}, made.body, nil)
		return meet.Join(t.Context(), meet.URLConfig{URL: made.body}, self)
	}
	type outcome struct {
		peers membership.Peers
		err   error
	}
	outcomes := make(chan outcome, 3) // one for each
	for i := range 3 {
		go func() {
			peers, err := join(i)
			outcomes <- outcome{peers, err}
		}()
	}
	const want = "m0=http://m0:2380,m1=http://m1:2380,m2=http://m2:2380"
	for range 3 {
		if o := <-outcomes; o.err != nil || o.peers.String() != want {
			t.Errorf("Join = %q, %v, want %q", o.peers, o.err, want)
		}
	}
	if _, err := join(3); !errors.Is(err, meet.ErrFull) {
		t.Errorf("Join of a fourth = %v, want %v", err, meet.ErrFull)
	}
	peers, err := meet.Members(t.Context(), meet.URLConfig{URL: made.body})
	if err != nil || peers.String() != want {
		t.Errorf("Members = %q, %v, want %q", peers, err, want)
	}
}
