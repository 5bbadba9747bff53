package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"etcd2/test/proc"
)

// scene is where one case plays: the processes, listeners and servers it has
// started.
type scene struct {
	binary   string
	dir      string
	programs []*program
	others   []io.Closer
}

// prepare does one step of a set-up.
func (s *scene) prepare(ctx context.Context, do step) error {
	switch {
	case do.Mkdir != "":
		return os.MkdirAll(do.Mkdir, 0o700)
	case do.Write != "":
		if err := os.MkdirAll(filepath.Dir(do.Write), 0o700); err != nil {
			return err
		}
		return os.WriteFile(do.Write, []byte(do.Text), 0o600)
	case do.Cert != "":
		return writeCertificate(do.Cert)
	case do.Listen != "":
		l, err := net.Listen("tcp", "127.0.0.1:"+do.Listen)
		if err == nil {
			s.others = append(s.others, l)
		}
		return err
	case do.Stub != nil:
		return s.stub(fmt.Sprint(do.Stub.Port), func(w http.ResponseWriter, r *http.Request) {
			route, ok := do.Stub.Routes[r.URL.Path]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
			}
			for name, value := range route.Headers {
				w.Header().Set(name, value)
			}
			io.WriteString(w, route.Body)
		})
	case do.Disc != nil:
		return s.meetingPlace(ctx, fmt.Sprint(do.Disc.Port), do.Disc.Keys)
	case do.HTTP != nil:
		return do.HTTP.send(ctx)
	case do.Sleep > 0:
		return nil
	case do.Start != nil:
		p, err := s.start(do.Start.Args, nil)
		if err != nil {
			return err
		}
		until := do.Start.Until
		if until == "" {
			until = "published"
		}
		if !p.stderr.Await(ctx, until, p.ended) {
			return fmt.Errorf("%q never printed %q:\n%s", do.Start.Args, until, &p.stderr)
		}
		if !do.Start.Keep {
			return p.stop(ctx)
		}
		return nil
	}
	return fmt.Errorf("unknown step %+v", do)
}

// meetingPlace starts a member on a port of 127.0.0.1 and writes the keys.
func (s *scene) meetingPlace(ctx context.Context, port string, keys map[string]string) error {
	free, err := freePorts()
	if err != nil {
		return err
	}
	clients, peers := "http://127.0.0.1:"+port, "http://127.0.0.1:"+free[0]
	_, err = s.start([]string{
		"--data-dir", filepath.Join(s.dir, "meeting-place"), "--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default=" + peers,
	}, nil)
	for key, value := range keys {
		if err == nil {
			put := request{Method: http.MethodPut, URL: clients + "/v2/keys" + key, Body: "value=" + url.QueryEscape(value), Status: http.StatusCreated}
			err = put.send(ctx)
		}
	}
	return err
}

// stub serves HTTP on a port of 127.0.0.1.
func (s *scene) stub(port string, h http.HandlerFunc) error {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h}
	s.others = append(s.others, srv)
	go srv.Serve(l) // until clear closes it
	return nil
}

// send repeats the request until it is answered as expected.
func (r *request) send(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := r.sendOnce(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", r.Method, r.URL, err)
		}
	}
}

func (r *request) sendOnce(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return err
	}
	if r.Body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	good := resp.StatusCode == r.Status || r.Status == 0 && resp.StatusCode < 300
	if err == nil && (!good || !strings.Contains(string(body), r.Contains)) {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

// start runs the program in the directory of the scene.
func (s *scene) start(args []string, env map[string]string) (*program, error) {
	p := &program{cmd: exec.Command(s.binary, args...), ended: make(chan struct{})}
	p.cmd.Dir = s.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, envPrefix) })
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait() // the status is read from ProcessState
		close(p.ended)
	}()
	s.programs = append(s.programs, p)
	return p, nil
}

// clear ends everything that still runs.
func (s *scene) clear() {
	for _, p := range s.programs {
		p.cmd.Process.Kill()
		<-p.ended
	}
	for _, o := range s.others {
		o.Close()
	}
}

// program is one run of the program.
type program struct {
	cmd            *exec.Cmd
	stdout, stderr proc.Output
	ended          chan struct{} // closed when it has ended and all its output is here
}

// signal sends TERM or INT.
func (p *program) signal(name string) error {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt}
	if signals[name] == nil {
		return fmt.Errorf("unknown signal %q", name)
	}
	return p.cmd.Process.Signal(signals[name])
}

// stop ends the program the orderly way.
func (p *program) stop(ctx context.Context) error {
	if err := p.signal("TERM"); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exit tells how the program ended: "running", "signal:N" or its status.
func (p *program) exit() string {
	select {
	case <-p.ended:
	default:
		return "running"
	}
	if n, ok := endedBy(p.cmd.ProcessState); ok {
		return fmt.Sprintf("signal:%d", n)
	}
	return fmt.Sprint(p.cmd.ProcessState.ExitCode())
}

// freePorts finds ten ports nobody uses at this moment.
func freePorts() ([]string, error) {
	var ports []string
	for range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are open until the last is found, so they differ
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
