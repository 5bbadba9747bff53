package discovery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
)

// TestPatience: a server that is away is asked ever more rarely, at least once a
// minute, and for as long as it takes.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(dir+"/_config/size", "1")
		m.fail = func(n int, _ *http.Request) (int, bool, error) {
			switch {
			case n <= 8:
				return 0, false, errors.New("dial tcp h:1: connect: connection refused")
			case n == 9:
				return 503, false, nil
			}
			return 0, false, nil
		}
		_, out, err := joinIn(t.Context(), m, memberA())
		if err != nil {
			t.Fatal(err)
		}
		for i, told := range []time.Duration{2, 4, 8, 16, 32, 60, 60, 60, 60} {
			told *= time.Second
			if waited := m.times[i+1].Sub(m.times[i]); waited > told || waited < told*3/4 {
				t.Errorf("attempt %d came %v after the one before, want about %v", i+2, waited, told)
			}
		}
		for _, want := range []string{
			"ERROR error #0: dial tcp h:1: connect: connection refused\nINFO cluster status check: error connecting to http://meet.example.com, retrying in 2s\n",
			"INFO cluster status check: error connecting to http://meet.example.com, retrying in 4s\n",
			"ERROR error #0: client: etcd member http://meet.example.com has no leader\nINFO cluster status check: error connecting to http://meet.example.com, retrying in 1m0s\n",
		} {
			if !strings.Contains(out.all(), want) {
				t.Errorf("the log lacks\n%s\nin\n%s", want, out.all())
			}
		}
	})
}

// TestLostAnswer: whatever becomes of one request, before or after it took effect,
// the member is registered once and gets in.
func TestLostAnswer(t *testing.T) {
	lost := errors.New("connection reset")
	for request := 1; request <= 8; request++ {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(dir+"/_config/size", "2")
				m.fail = func(n int, r *http.Request) (int, bool, error) {
					if n == request {
						return 0, late && r.Method == http.MethodPut, lost
					}
					return 0, false, nil
				}
				go func() {
					time.Sleep(time.Minute)
					m.put(dir+"/bb", "b=http://h:1")
				}()
				peers, out, err := joinIn(t.Context(), m, memberA())
				if err != nil || len(peers) != 2 {
					t.Errorf("request %d lost (late: %v): Join = %v, %v\n%s", request, late, peers, err, out.all())
				}
			})
		}
	}
}

// TestWaitBreaks: the words about a wait that broke, and the list is read again.
func TestWaitBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(dir+"/_config/size", "2")
		m.fail = func(n int, _ *http.Request) (int, bool, error) {
			if n == 7 {
				m.put(dir+"/bb", "b=http://h:1") // unnoticed
				return 502, false, nil
			}
			return 0, false, nil
		}
		if _, out, err := joinIn(t.Context(), m, memberA()); err != nil || !strings.Contains(out.all(), "waiting for other nodes: error connecting to http://meet.example.com, retrying in 2s") {
			t.Errorf("Join = %v\n%s", err, out.all())
		}
	})
}

// TestStuckConnection: a wait whose connection is dead without a sign ends by
// itself, and so does a request.
func TestStuckConnection(t *testing.T) {
	for _, request := range []int{1, 5, 7} {
		synctest.Test(t, func(t *testing.T) {
			m := newMeeting(dir+"/_config/size", "2")
			m.fail = func(n int, r *http.Request) (int, bool, error) {
				if n == request {
					<-r.Context().Done()
					return 0, false, r.Context().Err()
				}
				return 0, false, nil
			}
			go func() {
				time.Sleep(20 * time.Second)
				m.put(dir+"/bb", "b=http://h:1")
			}()
			began := time.Now()
			if _, out, err := joinIn(t.Context(), m, memberA()); err != nil || time.Since(began) > 2*pollMax {
				t.Errorf("request %d stuck: Join = %v after %v\n%s", request, err, time.Since(began), out.all())
			}
		})
	}
}

// endless is a body of which nothing ever comes.
type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) {
	<-e.ctx.Done()
	return 0, e.ctx.Err()
}

func (endless) Close() error { return nil }

// TestEndlessAnswer: an answer that begins and does not end is as good as none.
func TestEndlessAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(dir+"/_config/size", "1")
		first := true
		carrier := carrier(func(r *http.Request) (*http.Response, error) {
			if first {
				first = false
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: endless{r.Context()}}, nil
			}
			return m.RoundTrip(r)
		})
		out := newLogged()
		began := time.Now()
		if _, err := Join(t.Context(), URLConfig{URL: meetURL, Transport: carrier, Logger: slog.New(out)}, memberA()); err != nil || time.Since(began) > 20*time.Second {
			t.Errorf("Join = %v after %v", err, time.Since(began))
		}
		if want := "ERROR error #0: no answer within 15s"; !strings.Contains(out.all(), want) {
			t.Errorf("logged\n%s\nwant %s", out.all(), want)
		}
	})
}

// carrier is a RoundTripper from a function.
type carrier func(*http.Request) (*http.Response, error)

func (f carrier) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestProgress: many arrivals make few lines, and silence is broken each minute.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(dir+"/_config/size", "9")
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for _, id := range []string{"b1", "b2", "b3", "b4"} {
				time.Sleep(time.Second)
				m.put(dir+"/"+id, id+"=http://h:"+id[1:])
			}
			time.Sleep(3 * time.Minute)
			stop()
		}()
		_, out, err := joinIn(ctx, m, memberA())
		if err != context.Canceled {
			t.Errorf("Join = %v, want %v, untouched", err, context.Canceled)
		}
		var lines []string
		for line := range strings.SplitSeq(out.all(), "\n") {
			if strings.Contains(line, "arrived") {
				lines = append(lines, line)
			}
		}
		const five = "\nINFO 5 of 9 arrived, waiting for 4"
		if got, want := strings.Join(lines, "\n"), "INFO 1 of 9 arrived, waiting for 8"+five+five+five; got != want {
			t.Errorf("logged\n%s\nwant\n%s", got, want)
		}
	})
}

// TestTampering: what this member registered disappears or changes while it waits.
func TestTampering(t *testing.T) {
	own := dir + "/" + idOf(memberA())
	tests := []struct {
		name   string
		tamper func(*meeting)
	}{
		{"deleted", func(m *meeting) { m.drop(own) }},
		{"other URL", func(m *meeting) { m.put(own, "a=http://h:9"); m.put(dir+"/bb", "b=http://h:1") }},
		{"other name", func(m *meeting) { m.put(own, "z=http://127.0.0.1:2380"); m.put(dir+"/bb", "b=http://h:1") }},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			m := newMeeting(dir+"/_config/size", "2")
			go func() {
				time.Sleep(time.Second)
				tt.tamper(m)
			}()
			if peers, _, err := joinIn(t.Context(), m, memberA()); !errors.Is(err, ErrVanished) {
				t.Errorf("%s: Join = %v, %v, want %v", tt.name, peers, err, ErrVanished)
			}
		})
	}
}

// TestBusyPlace: events that bring nobody do not make the member ask without end.
func TestBusyPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(dir+"/_config/size", "2")
		polls := 0
		m.fail = func(_ int, r *http.Request) (int, bool, error) {
			if r.URL.Query().Get("recursive") == "true" {
				polls++
				m.put(dir+"/_config/noise", "x")
			}
			return 0, false, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if _, _, err := joinIn(ctx, m, memberA()); err != context.DeadlineExceeded {
			t.Errorf("Join = %v", err)
		}
		if polls > 150 || polls < 100 {
			t.Errorf("%d polls in ten minutes, want one each five seconds or so", polls)
		}
	})
}

// says is a transport that answers size and list with these bodies.
type says struct{ size, list string }

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	body := s.list
	if strings.HasSuffix(r.URL.Path, "/size") {
		body = s.size
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(body)))}, nil
}

// FuzzLook: whatever a place answers, no more than its size counts, each member once.
func FuzzLook(f *testing.F) {
	const size = `{"node":{"value":"2"}}`
	for _, list := range []string{
		`{"node":{"nodes":[{"key":"/t/1","value":"a=http://h:1"},{"key":"/t/2","value":"b=http://h:2"}]}}`,
		`{"node":{"nodes":[{"key":"/t/1","createdIndex":9},{"key":"1"},null,{}]}}`, `{"node":{"nodes":[{"key":"/t/_config","dir":true}]}}`,
		`{"node":{"nodes":[{"key":"/t/1","value":"a=http://h:1,a=http://h:2,=,"}]}}`, "{}", "", "<html>",
	} {
		f.Add(size, list)
		f.Add(`{"node":{"value":"1000000000"}}`, list)
	}
	f.Fuzz(func(t *testing.T, size, list string) {
		p, err := meet(URLConfig{URL: meetURL, Transport: says{size, list}})
		if err != nil {
			t.Fatal(err)
		}
		here, err := p.look(t.Context())
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a word")
			}
			return
		}
		if here.size < 1 || here.size > sizeMax || len(here.arrived) > here.size {
			t.Fatalf("%d of %d", len(here.arrived), here.size)
		}
		seen := make(map[membership.ID]bool)
		for _, a := range here.arrived {
			if a.id == 0 || seen[a.id] {
				t.Fatalf("ID %s in %v", a.id, here.arrived)
			}
			seen[a.id] = true
		}
		peers, err := here.peers()
		if err == nil && len(peers) != len(here.arrived) {
			t.Fatalf("%d names of %d members", len(peers), len(here.arrived))
		}
		if again, err := membership.ParsePeers(peers.String()); err != nil || again.String() != peers.String() {
			t.Fatalf("the cluster %q reads as %q, %v", peers, again, err)
		}
	})
}
