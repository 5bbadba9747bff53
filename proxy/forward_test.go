package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOwnAnswers(t *testing.T) {
	member := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "http://of.the.member")
		io.WriteString(w, "member "+r.Method+" "+r.RequestURI)
	}
	tests := []struct {
		method, target string
		status         int
		text           string
		header, value  string // one to check
		readonly       bool
	}{
		{"GET", "/v2/keys/a?b=c%2Fd;e", 200, "member GET /v2/keys/a?b=c%2Fd;e", "Access-Control-Allow-Origin", "http://web", false},
		{"GET", "/v2/keys/a%2Fb//c/?", 200, "member GET /v2/keys/a%2Fb//c/?", "", "", false},
		{"DELETE", "/version", 200, "member DELETE /version", "", "", false},
		{"OPTIONS", "/v2/keys/a", 200, "", "Access-Control-Allow-Origin", "http://web", false},
		{"GET", configPath, 200, `{"endpoints":["http://a:2379"]}` + "\n", "Content-Type", "text/plain; charset=utf-8", false},
		{"PUT", configPath, 405, "Method Not Allowed\n", "Allow", "GET", false},
		{"GET", "/v2/keys/a", 200, "member GET /v2/keys/a", "", "", true},
		{"HEAD", "/v2/keys/a", 200, "", "", "", true},
		{"PUT", "/v2/keys/a", 501, "", "Access-Control-Allow-Origin", "", true},
		{"OPTIONS", "/v2/keys/a", 501, "", "", "", true},
		{"POST", configPath, 501, "", "", "", true},
		{"GET", configPath, 200, `{"endpoints":["http://a:2379"]}` + "\n", "", "", true},
	}
	for _, tt := range tests {
		inBubble(t, Config{Readonly: tt.readonly, CORS: []string{"http://web"}}, func(t *testing.T, b *bench) {
			defer b.Run("a")()
			defer b.Serve("a", http.HandlerFunc(member))()
			req, err := http.NewRequest(tt.method, "http://proxy"+tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", "http://web")
			res, text := b.Do(req)
			if res.StatusCode != tt.status || text != tt.text {
				t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, res.StatusCode, text, tt.status, tt.text)
			}
			if tt.header != "" && res.Header.Get(tt.header) != tt.value {
				t.Errorf("%s %s: %s: %q, want %q", tt.method, tt.target, tt.header, res.Header.Values(tt.header), tt.value)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		var got *http.Request
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Clone(context.Background())
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Set("X-Etcd-Index", "12")
			w.Header().Add("X-Two", "1")
			w.Header().Add("X-Two", "2")
			w.WriteHeader(http.StatusTeapot)
		}))()
		conn, err := b.Dial(t.Context(), "", "proxy:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go io.WriteString(conn, "PUT /v2/keys/x HTTP/1.0\r\nHost: who.asked:99\r\nConnection: close, X-Named\r\nX-Named: stays\r\n"+
			"TE: trailers\r\nProxy-Authorization: secret\r\nX-Forwarded-For: 10.1.1.1, 10.2.2.2\r\nX-Forwarded-For: 10.3.3.3\r\nContent-Length: 7\r\n\r\nvalue=1")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusTeapot || res.Header.Get("Keep-Alive") != "" ||
			res.Header.Get("X-Etcd-Index") != "12" || !slices.Equal(res.Header.Values("X-Two"), []string{"1", "2"}) {
			t.Errorf("answer %d %v", res.StatusCode, res.Header)
		}
		if got.Proto != "HTTP/1.1" || got.Host != "who.asked:99" || got.ContentLength != 7 {
			t.Errorf("sent %s to host %s with %d bytes", got.Proto, got.Host, got.ContentLength)
		}
		for name, want := range map[string]string{
			"X-Forwarded-For": "10.1.1.1, 10.2.2.2, 10.3.3.3, 192.0.2.7",
			"X-Named":         "stays", "Te": "", "Proxy-Authorization": "", "Connection": "", "User-Agent": "",
			"Accept-Encoding": "", hopsHeader: b.proxy.id,
		} {
			if v := strings.Join(got.Header.Values(name), "|"); v != want {
				t.Errorf("sent %s: %q, want %q", name, v, want)
			}
		}
	})
}

// What is wrong with a request must not look like a failure of the endpoints, which
// would take them from everybody.
func TestBadHost(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", says("member"))()
		for _, host := range []string{"xn--\u00e9", "\xff", "xn--%C3%A9:80"} {
			conn, err := b.Dial(t.Context(), "", "proxy:80")
			if err != nil {
				t.Fatal(err)
			}
			go io.WriteString(conn, "GET http://"+host+"/v2/keys/x HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			conn.Close()
			if usable := len(b.proxy.endpoints.Available()); res.StatusCode != http.StatusBadRequest || usable != 1 {
				t.Errorf("host %q: status %d, then %d endpoints are available", host, res.StatusCode, usable)
			}
		}
	})
}

// The read time-out is about the answer, and not about the rest between requests.
func TestReadTimeoutAfterRest(t *testing.T) {
	inBubble(t, Config{ReadTimeout: time.Second}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(600 * time.Millisecond)
			io.WriteString(w, "member")
		}))()
		for range 3 {
			if res, text := b.Ask("PUT", "/v2/keys/x", "value=1"); res.StatusCode != http.StatusOK {
				t.Errorf("status %d %s", res.StatusCode, text)
			}
			time.Sleep(600 * time.Millisecond)
		}
	})
}

// A write whose connection breaks goes to the next member, body and all, as long
// as nobody has begun to answer it.
func TestWritesAreTriedAgain(t *testing.T) {
	abort := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	begin := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusCreated)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name, method string
		first        http.HandlerFunc
		want         string // "" for an answer cut short
	}{
		{"write without an answer", "PUT", abort, "b value=1"},
		{"write with half an answer", "PUT", begin, ""},
		{"read without an answer", "GET", abort, "b value=1"},
		{"read with half an answer", "GET", begin, "b value=1"},
		{"a refusal is an answer", "PUT", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, "no\n"},
	} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("a", "b")()
			defer b.Serve("a", tt.first)()
			defer b.Serve("b", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				io.WriteString(w, "b "+string(body))
			}))()
			b.order("a", "b")
			req, _ := http.NewRequest(tt.method, "http://proxy/v2/keys/x", strings.NewReader("value=1"))
			var text []byte
			res, err := b.client.Do(req)
			if err == nil {
				defer res.Body.Close()
				text, err = io.ReadAll(res.Body)
			}
			switch {
			case tt.want == "" && err == nil:
				t.Errorf("%s: %d %q, want it cut", tt.name, res.StatusCode, text)
			case tt.want != "" && (err != nil || string(text) != tt.want):
				t.Errorf("%s: %q, %v, want %q", tt.name, text, err, tt.want)
			}
		})
	}
}

func TestBody(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))()
		for _, tt := range []struct {
			name   string
			body   io.Reader
			status int
			text   string
		}{
			{"cut short", io.MultiReader(strings.NewReader("val"), failing{}), 500, `{"message":"proxy: failed to read request body: it broke"}`},
			{"largest", &zeros{bodyBytesMax}, 200, ""},
			{"too large", &zeros{bodyBytesMax + 1}, 413, `{"message":"proxy: the request body has more than 16777216 bytes"}`},
		} {
			w := httptest.NewRecorder()
			b.proxy.ServeHTTP(w, httptest.NewRequest("PUT", "/v2/keys/x", tt.body))
			if w.Code != tt.status || w.Body.String() != tt.text {
				t.Errorf("%s: %d %q, want %d %q", tt.name, w.Code, w.Body, tt.status, tt.text)
			}
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("it broke") }

type zeros struct{ left int }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), z.left)
	z.left -= n
	return n, nil
}

// Every event of a stream reaches the client before the next one happens, and the
// head before the first.
func TestStream(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		events := make(chan string)
		left := make(chan struct{})
		defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.Flush()
			for {
				select {
				case e := <-events:
					io.WriteString(w, e)
					rc.Flush()
				case <-r.Context().Done():
					close(left)
					return
				}
			}
		}))()
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://proxy/v2/keys/x?wait=true&stream=true", nil)
		res, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewReader(res.Body)
		for _, e := range []string{"one\n", "two\n"} {
			events <- e
			if got, err := lines.ReadString('\n'); got != e || err != nil {
				t.Errorf("read %q, %v, want %q", got, err, e)
			}
		}
		b.log.Take()
		leave()
		<-left
		wantLog(b, "INFO client 192.0.2.7:4711 closed request prematurely")
		if _, text := b.Ask("GET", configPath, ""); text != `{"endpoints":["http://a:2379"]}`+"\n" {
			t.Errorf("the endpoint pays for a client that left: %s", text)
		}
	})
}

func TestClientGone(t *testing.T) {
	for _, target := range []string{"/v2/keys/x?quorum=true", "/v2/keys/x?wait=true"} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("a")()
			left := make(chan struct{})
			defer b.Serve("a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				close(left)
			}))()
			b.log.Take()
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://proxy"+target, nil)
			if res, err := b.client.Do(req); err == nil {
				t.Errorf("GET %s: %d", target, res.StatusCode)
			}
			<-left
			wantLog(b, "INFO client 192.0.2.7:4711 closed request prematurely")
			if len(b.proxy.endpoints.Available()) != 1 {
				t.Errorf("GET %s: the endpoint pays for a client that left", target)
			}
		})
	}
}

// A member that advertises the URL of the proxy is no way to the cluster. With
// another member requests succeed, without one the client is told why not.
func TestLoop(t *testing.T) {
	for _, target := range []string{"/v2/keys/x", "/v2/keys/x?wait=true"} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("proxy", "a")()
			defer b.Serve("a", says("a"))()
			b.order("proxy", "a")
			if _, text := b.Ask("GET", target, ""); text != "a" {
				t.Errorf("GET %s: %q, want the answer of a", target, text)
			}
			if got := texts(b.proxy.endpoints.Available()); !slices.Equal(got, []string{"http://a:2379"}) {
				t.Errorf("available: %v", got)
			}
		})
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			defer b.Run("proxy")()
			res, text := b.Ask("GET", target, "")
			if want := `{"message":"proxy: ` + errLoop.Error() + `"}`; res.StatusCode != http.StatusLoopDetected || text != want {
				t.Errorf("GET %s: %d %q, want %q", target, res.StatusCode, text, want)
			}
		})
	}
}

// Two proxies that take each other for members. The one where the circle closes
// finds out, and has nowhere else to go.
func TestRing(t *testing.T) {
	for _, target := range []string{"http://proxy/v2/keys/x", "http://other/v2/keys/x", "http://proxy/v2/keys/x?wait=true", "http://other/v2/keys/x?wait=true"} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			members := new(source)
			members.Set(nil, "http://proxy:2379")
			other := New(Config{Dial: b.Dial, Members: members})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go other.Run(ctx)
			<-other.Ready()
			defer b.Serve("other", other)()
			defer b.Run("other")()
			req, err := http.NewRequest("GET", target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, _ := b.Do(req); res.StatusCode != http.StatusLoopDetected {
				t.Errorf("GET %s: %d, want 508", target, res.StatusCode)
			}
		})
	}
}

func TestTooManyHops(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		defer b.Run("a")()
		defer b.Serve("a", says("a"))()
		for n, want := range map[int]int{hopsMax - 1: 200, hopsMax: 508} {
			req, _ := http.NewRequest("GET", "http://proxy/v2/keys/x", nil)
			req.Header.Set(hopsHeader, strings.Join(slices.Repeat([]string{"f00"}, n), ", "))
			if res, _ := b.Do(req); res.StatusCode != want {
				t.Errorf("after %d proxies: %d, want %d", n, res.StatusCode, want)
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, Config{Readonly: true}, func(t *testing.T, b *bench) {
		defer b.Run("gone", "a")()
		defer b.Serve("a", says("a"))()
		b.order("gone", "a")
		b.Ask("GET", "/v2/keys/x", "")
		b.Ask("GET", "/v2/keys/x", "")
		res, page := b.Ask("POST", "/metrics", "")
		if got := res.Header.Get("Content-Type"); got != "text/plain; version=0.0.4" {
			t.Errorf("Content-Type: %s", got)
		}
		for _, want := range []string{
			`etcd_proxy_requests_total{method="GET"} 2`,
			`etcd_proxy_handled_total{code="200",method="GET"} 2`,
			`etcd_proxy_dropped_total{method="GET",proxying_error="failed_sending_request"} 1`,
			`etcd_proxy_handling_duration_seconds_count{method="GET"} 2`,
			`etcd_proxy_endpoints_available 1`,
			`etcd_proxy_watches_open 0`,
			"go_goroutines ",
		} {
			if !strings.Contains(page, "\n"+want) {
				t.Errorf("metrics have no line %q", want)
			}
		}
	})
}
