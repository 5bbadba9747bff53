package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/membership"
)

// Where members meet, on a meeting as transport.
const (
	dir     = "/disc/tok"
	meetURL = "http://meet.example.com/v2/keys" + dir
)

// memberA is who joins in most tests, idA its ID.
func memberA() membership.Member {
	return membership.Member{Name: "a", PeerURLs: []string{"http://127.0.0.1:2380"}}
}

func idOf(m membership.Member) string {
	return membership.NewMember(m.Name, m.PeerURLs, meetURL, nil).ID.String()
}

// joinIn joins a meeting and returns the log too.
func joinIn(ctx context.Context, m *meeting, self membership.Member) (membership.Peers, *logged, error) {
	out := newLogged()
	peers, err := Join(ctx, URLConfig{URL: meetURL, Transport: m, Logger: slog.New(out)}, self)
	return peers, out, err
}

// TestThreeMeet: members that arrive one after the other get the same cluster, and
// the log tells how it goes.
func TestThreeMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(dir+"/_config/size", "3")
		type end struct {
			peers membership.Peers
			err   error
			log   *logged
		}
		ends := make(chan end, 3) // one for each member
		var ids []string
		for i, name := range []string{"c", "a", "b"} {
			self := membership.Member{Name: name, PeerURLs: []string{fmt.Sprintf("http://10.0.1.%d:2380", i), fmt.Sprintf("http://10.0.1.%d:2381", i)}}
			ids = append(ids, idOf(self))
			go func() {
				peers, out, err := joinIn(t.Context(), m, self)
				ends <- end{peers, err, out}
			}()
			synctest.Wait()
			time.Sleep(7 * time.Second)
		}
		want := "a=http://10.0.1.1:2380,a=http://10.0.1.1:2381,b=http://10.0.1.2:2380,b=http://10.0.1.2:2381,c=http://10.0.1.0:2380,c=http://10.0.1.0:2381"
		var first *logged
		for range 3 {
			e := <-ends
			if e.err != nil || e.peers.String() != want {
				t.Errorf("Join = %v, %v, want %s", e.peers, e.err, want)
			}
			if strings.Contains(e.log.all(), "found self "+ids[0]) {
				first = e.log
			}
		}
		lines := []string{
			"INFO+2 found self " + ids[0] + " in the cluster",
			"INFO+2 found 1 peer(s), waiting for 2 more",
			"INFO 1 of 3 arrived, waiting for 2",
			"INFO+2 found peer " + ids[1] + " in the cluster",
			"INFO+2 found 2 peer(s), waiting for 1 more",
			"INFO 2 of 3 arrived, waiting for 1",
			"INFO+2 found peer " + ids[2] + " in the cluster",
			"INFO+2 found 3 needed peer(s)",
		}
		if got, want := first.all(), strings.Join(lines, "\n"); got != want {
			t.Errorf("the first member logged\n%s\nwant\n%s", got, want)
		}
	})
}

// TestRequests: what one member asks for, in which order.
func TestRequests(t *testing.T) {
	for _, url := range []string{meetURL, meetURL + "/"} {
		m := newMeeting(dir+"/_config/size", "1")
		if _, err := Join(t.Context(), URLConfig{URL: url, Transport: m}, memberA()); err != nil {
			t.Fatal(err)
		}
		id := membership.NewMember("a", memberA().PeerURLs, url, nil).ID.String()
		const options = "?quorum=false&recursive=false&sorted=false"
		look := []string{"GET /v2/keys/disc/tok/_config/size" + options, "GET /v2/keys/disc/tok" + options}
		want := append(append([]string{}, look...), "PUT /v2/keys/disc/tok/"+id+"?prevExist=false", "GET /v2/keys/disc/tok/"+id+"?recursive=false&wait=true&waitIndex=12")
		want = append(want, look...)
		if got := strings.Join(m.asked, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s: asked\n%s\nwant\n%s", url, got, strings.Join(want, "\n"))
		}
	}
}

func TestIDsOfGuide(t *testing.T) {
	const url = "http://127.0.0.1:5000/v2/keys/discovery/tok1"
	m := newMeeting("/discovery/tok1/_config/size", "3", "/discovery/tok1/652877a57d0879d4", "infra1=http://10.0.1.11:2380", "/discovery/tok1/b069a81907ddfc0f", "infra2=http://10.0.1.12:2380")
	out := newLogged()
	peers, err := Join(t.Context(), URLConfig{URL: url, Transport: m, Logger: slog.New(out)}, membership.Member{Name: "infra0", PeerURLs: []string{"http://10.0.1.10:2380"}})
	if err != nil {
		t.Fatal(err)
	}
	if id := membership.ClusterID(peers.Members(url)); id.String() != "4ab48438bf401f0c" {
		t.Errorf("cluster ID %s", id)
	}
	if _, ok := m.find("/discovery/tok1/c6006e67baa364cb"); !ok || strings.Contains(out.all(), "WARN") {
		t.Errorf("registered under another ID: %v\n%s", m.asked, out.all())
	}
}

// TestJoinFailures: what the operator is told.
func TestJoinFailures(t *testing.T) {
	self := memberA()
	joined := func(x string) string {
		return "ERROR failed to join discovery cluster (" + x + ")\nINFO discovery token " + meetURL + " was used, but failed to bootstrap the cluster.\nINFO please generate a new discovery token and try to bootstrap again."
	}
	sized := func(size string, more ...string) *meeting {
		return newMeeting(append([]string{dir + "/_config/size", size}, more...)...)
	}
	nameTwice := "ERROR member with duplicated name has registered with discovery service token(" + meetURL + ").\nERROR please check (cURL) the discovery token for more information.\nERROR please do not reuse the discovery token and generate a new one to bootstrap the cluster."
	tests := []struct {
		name  string
		m     *meeting
		is    error
		lines string
		guide string
	}{
		{"no size", newMeeting(dir+"/x", "1"), ErrNoSize, joined("discovery: size key not found"), "error: the cluster doesn’t have a size configuration value in " + meetURL + "/_config"},
		{"size is a word", sized("three"), ErrBadSize, joined("discovery: size key is bad"), ""},
		{"size is empty", sized(""), ErrBadSize, joined("discovery: size key is bad"), ""},
		{"size is zero", sized("0"), ErrBadSize, joined("discovery: size key is bad"), ""},
		{"size is negative", sized("-3"), ErrBadSize, joined("discovery: size key is bad"), ""},
		{"size is huge", sized("1000000000"), ErrBadSize, joined("discovery: size key is bad: more than 1000 members"), ""},
		{"size is beyond numbers", sized("99999999999999999999"), ErrBadSize, joined("discovery: size key is bad: more than 1000 members"), ""},
		{"full", sized("1", dir+"/aa", "b=http://127.0.0.1:1"), ErrFull, joined("discovery: cluster is full"), "discovery: cluster is full"},
		{"registered before", sized("2", dir+"/"+idOf(self), "a=http://127.0.0.1:2380"), ErrDuplicateID,
			"ERROR member \"a\" has previously registered with discovery service token (" + meetURL + ").\nERROR But etcd could not find valid cluster configuration in the given data dir (/data).\nINFO Please check the given data dir path if the previous bootstrap succeeded\nINFO or use a new discovery token if the previous bootstrap failed.", ""},
		{"registered before, but late", sized("1", dir+"/aa", "b=http://127.0.0.1:1", dir+"/"+idOf(self), "a=http://127.0.0.1:2380"), ErrFull, joined("discovery: cluster is full"), "discovery: cluster is full"},
		{"name twice", sized("2", dir+"/aa", "a=http://127.0.0.1:1"), ErrDuplicateName, nameTwice, ""},
		{"name twice, others missing", sized("5", dir+"/aa", "a=http://127.0.0.1:1"), ErrDuplicateName, nameTwice, ""},
		{"URL twice", sized("2", dir+"/aa", "b=http://127.0.0.1:2380"), nil, "", ""},
		{"no URL", sized("2", dir+"/aa", "b"), ErrInvalidURL, joined("discovery: invalid URL: member aa: URL scheme must be http or https: "), ""},
		{"empty value", sized("2", dir+"/aa", ""), ErrInvalidURL, joined("discovery: invalid URL: member aa: a value with 0 names"), ""},
		{"two names", sized("2", dir+"/aa", "b=http://h:1,c=http://h:2"), ErrInvalidURL, joined("discovery: invalid URL: member aa: a value with 2 names"), ""},
		{"odd name", sized("2", dir+"/aa", "b\x1b[2J=http://h:1"), ErrInvalidURL, joined("discovery: invalid URL: member aa: a name of 5 bytes or with control characters"), ""},
		{"long value", sized("2", dir+"/aa", "b=http://h:1"+strings.Repeat(",b=http://h:1", 2000)), ErrInvalidURL, joined("discovery: invalid URL: member aa: a value of 26012 bytes"), ""},
		{"list beyond measure", sized("2", dir+"/aa", strings.Repeat("x", listBytesMax)), ErrBadEndpoint, joined("discovery: bad discovery endpoint: an answer of more than 1048576 bytes"), ""},
		{"ID zero", sized("2", dir+"/00", "b=http://h:1"), ErrBadEndpoint, joined("discovery: bad discovery endpoint: \"00\" is no ID of a member"), ""},
		{"no ID", sized("2", dir+"/README", "b=http://h:1"), ErrBadEndpoint, joined("discovery: bad discovery endpoint: \"README\" is no ID of a member"), ""},
		{"ID twice", sized("3", dir+"/aa", "b=http://h:1", dir+"/0AA", "c=http://h:2"), ErrBadEndpoint, joined("discovery: bad discovery endpoint: \"0AA\" is no ID of a member"), ""},
	}
	for _, tt := range tests {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		peers, out, err := joinIn(ctx, tt.m, self)
		cancel()
		var told *JoinError
		if !errors.As(err, &told) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: Join = %v, %v, want %v\n%s", tt.name, peers, err, tt.is, out.all())
			continue
		}
		var lines []string
		for _, l := range told.Lines("/data") {
			lines = append(lines, l.Level.String()+" "+l.Text)
		}
		if got := strings.Join(lines, "\n"); got != tt.lines || told.Guide() != tt.guide {
			t.Errorf("%s: told\n%s\nand %q, want\n%s\nand %q", tt.name, got, told.Guide(), tt.lines, tt.guide)
		}
		if tt.name == "URL twice" && err.Error() != "discovery cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:2380 has duplicate url" {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestLateComer: two arrive for one place; the later one is told, and its key stays.
func TestLateComer(t *testing.T) {
	m := newMeeting(dir+"/_config/size", "1")
	m.fail = func(n int, _ *http.Request) (int, bool, error) {
		if n == 3 { // both have seen room; the other one is quicker
			m.put(dir+"/bb", "b=http://h:1")
		}
		return 0, false, nil
	}
	if _, _, err := joinIn(t.Context(), m, memberA()); !errors.Is(err, ErrFull) {
		t.Errorf("Join = %v, want %v", err, ErrFull)
	}
	if _, ok := m.find(dir + "/" + idOf(memberA())); !ok {
		t.Error("the key of the late comer is gone")
	}
}

func TestBadArguments(t *testing.T) {
	tests := []struct {
		name string
		cfg  URLConfig
		self string
		want string
	}{
		{"no URL", URLConfig{URL: "http://a b"}, "a", `parse "http://a b": invalid character " " in host name`},
		{"no host", URLConfig{URL: "http:///tok"}, "a", "discovery: the URL has to begin with http:// or https:// and a host: http:///tok"},
		{"other scheme", URLConfig{URL: "ftp://u:secret@h/tok"}, "a", "discovery: the URL has to begin with http:// or https:// and a host: ftp://u:xxxxx@h/tok"},
		{"bad proxy", URLConfig{URL: meetURL, Proxy: "http://%zz"}, "a", `invalid proxy address "http://%zz": parse "http://%zz": invalid URL escape "%zz"`},
		{"name with a comma", URLConfig{URL: meetURL}, "a,b", "discovery: others could not read "},
		{"name with an equals sign", URLConfig{URL: meetURL}, "a=b", "discovery: others could not read "},
		{"no name", URLConfig{URL: meetURL, Transport: newMeeting()}, "", "discovery: size key not found"},
	}
	for _, tt := range tests {
		_, err := Join(t.Context(), tt.cfg, membership.Member{Name: tt.self, PeerURLs: []string{"http://h:1"}})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: Join = %v, want %s", tt.name, err, tt.want)
		}
	}
	e := &JoinError{URL: shown("http://u:secret@h/tok"), Err: ErrNoSize}
	if strings.Contains(e.Guide()+e.Lines("")[1].Text, "secret") {
		t.Errorf("the password is told: %q", e.Guide())
	}
}

// TestMembers: a proxy does not register, and a full cluster is fine.
func TestMembers(t *testing.T) {
	m := newMeeting(dir+"/_config/size", "2", dir+"/bb", "b=http://h:1", dir+"/aa", "a=http://h:2", dir+"/cc", "c=http://h:3")
	peers, err := Members(t.Context(), URLConfig{URL: meetURL, Transport: m})
	if err != nil || peers.String() != "a=http://h:2,b=http://h:1" {
		t.Errorf("Members = %v, %v, want the first two", peers, err)
	}
	if asked := strings.Join(m.asked, "\n"); strings.Contains(asked, "PUT") {
		t.Errorf("a proxy wrote: %s", asked)
	}
	if _, err := Members(t.Context(), URLConfig{URL: meetURL, Transport: newMeeting()}); err != ErrNoSize {
		t.Errorf("Members without a size = %v", err)
	}
}

// TestWays: through an HTTP proxy, behind redirects, and over TLS.
func TestWays(t *testing.T) {
	m := newMeeting(dir+"/_config/size", "1")
	plain := httptest.NewServer(m)
	defer plain.Close()
	secure := httptest.NewTLSServer(m)
	defer secure.Close()
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/v2/keys"+dir+strings.TrimPrefix(r.URL.RequestURI(), "/short"), http.StatusTemporaryRedirect)
	}))
	defer moved.Close()
	tls := secure.Client().Transport.(*http.Transport).TLSClientConfig
	tests := []struct {
		name string
		cfg  URLConfig
		log  string
	}{
		{"plain", URLConfig{URL: plain.URL + "/v2/keys" + dir}, ""},
		{"TLS", URLConfig{URL: secure.URL + "/v2/keys" + dir, TLS: tls}, ""},
		{"redirects", URLConfig{URL: moved.URL + "/short"}, ""},
		{"proxy", URLConfig{URL: "http://nowhere.example.com/v2/keys" + dir, Proxy: plain.URL}, `using proxy "` + plain.URL + `"`},
		{"proxy without scheme", URLConfig{URL: "http://nowhere.example.com/v2/keys" + dir, Proxy: strings.TrimPrefix(plain.URL, "http://")}, `using proxy "` + plain.URL + `"`},
	}
	for _, tt := range tests {
		id := membership.NewMember("a", memberA().PeerURLs, tt.cfg.URL, nil).ID.String()
		out := newLogged()
		tt.cfg.Logger = slog.New(out)
		peers, err := Join(t.Context(), tt.cfg, memberA())
		if err != nil || peers.String() != "a=http://127.0.0.1:2380" || !strings.Contains(out.all(), tt.log) {
			t.Errorf("%s: Join = %v, %v\n%s", tt.name, peers, err, out.all())
		}
		m.drop(dir + "/" + id)
	}
}
