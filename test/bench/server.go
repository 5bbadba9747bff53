package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// server is a running process under measurement, alone or the member of a cluster
// that takes the load.
type server struct {
	addr   string // host:port of the client API
	dir    string // data directory
	args   []string
	bin    string
	cmd    *exec.Cmd
	log    bytes.Buffer
	done   chan struct{} // closed when the process has ended
	others []*server     // the other members of its cluster
}

// start runs a fresh cluster of so many members with its data below dir, waits
// until it serves, and returns the member that leads.
func start(ctx context.Context, bin string, flags []string, dir string, members int) (*server, error) {
	all := make([]*server, members)
	var founders []string
	for i := range all {
		client, err := freeAddr()
		if err != nil {
			return nil, err
		}
		peer, err := freeAddr()
		if err != nil {
			return nil, err
		}
		name := "bench" + strconv.Itoa(i)
		all[i] = &server{addr: client, dir: filepath.Join(dir, name), bin: bin}
		all[i].args = append([]string{
			"--name", name, "--data-dir", all[i].dir,
			"--listen-client-urls", "http://" + client, "--advertise-client-urls", "http://" + client,
			"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
		}, flags...)
		founders = append(founders, name+"=http://"+peer)
	}
	for i, s := range all {
		s.args = append(s.args, "--initial-cluster", strings.Join(founders, ","))
		if err := s.launch(); err != nil {
			killAll(all[:i])
			return nil, err
		}
	}
	for _, s := range all {
		if err := s.awaitServing(ctx); err != nil {
			killAll(all)
			return nil, err
		}
	}
	return leader(all)
}

// leader returns the member that leads, knowing the others.
func leader(all []*server) (*server, error) {
	for i, s := range all {
		resp, err := http.Get("http://" + s.addr + "/v2/stats/self")
		if err != nil {
			continue
		}
		var self struct{ State string }
		err = json.NewDecoder(resp.Body).Decode(&self)
		_ = resp.Body.Close()
		if err == nil && self.State == "StateLeader" {
			s.others = slices.Delete(slices.Clone(all), i, i+1)
			return s, nil
		}
	}
	killAll(all)
	return nil, errors.New("no member leads")
}

// follower is another member, to put the load on instead.
func (s *server) follower() *server {
	f := s.others[0]
	f.others = append([]*server{s}, s.others[1:]...)
	return f
}

func killAll(all []*server) {
	for _, s := range all {
		s.kill()
	}
}

// freeAddr returns an address on loopback that is free at this moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// begin starts the process on its data directory and waits until it answers a
// write, which is when it has a leader.
func (s *server) begin(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	if err := s.awaitServing(ctx); err != nil {
		s.kill()
		return err
	}
	return nil
}

// launch starts the process on its data directory.
func (s *server) launch() error {
	s.cmd = exec.Command(s.bin, s.args...)
	s.cmd.Stderr, s.cmd.Stdout = &s.log, io.Discard
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // how it ended shows in the log
		close(s.done)
	}()
	return nil
}

func (s *server) awaitServing(ctx context.Context) error {
	if err := s.waitFor(ctx, putRequest(nil, s.addr, "/bench-start", "1"), time.Minute); err != nil {
		return fmt.Errorf("%w\n%s", err, s.log.String())
	}
	return nil
}

// waitFor sends a request every millisecond until it is answered with success.
func (s *server) waitFor(ctx context.Context, request []byte, patience time.Duration) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if err := s.once(request); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errors.New("the server ended")
		case <-tick.C:
		}
	}
	return fmt.Errorf("no answer within %v", patience)
}

// once sends one request on its own connection.
func (s *server) once(request []byte) error {
	c, err := dial(s.addr)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.roundTrip(request)
	return err
}

// kill ends the process at once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// cpu returns the processor time that the process and the other members have used.
// ok is false where the system does not tell.
func (s *server) cpu() (used time.Duration, ok bool) {
	used, ok = s.ownCPU()
	for _, o := range s.others {
		more, told := o.ownCPU()
		used, ok = used+more, ok && told
	}
	return used, ok
}

func (s *server) ownCPU() (used time.Duration, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, false
	}
	// The command name may hold anything, so the fields count from its last ")".
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, false
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	// The kernel counts in hundredths of a second on every Linux Go runs on.
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2) == nil
}

// memory returns a line of /proc/PID/status in bytes: VmRSS is resident now, VmHWM
// was resident at most. Zero where the system does not tell.
func (s *server) memory(line string) float64 {
	return s.procValue("status", line+":") * 1024 // the file counts in kB
}

// written returns how many bytes the process has caused to be written to disk.
func (s *server) written() float64 { return s.procValue("io", "write_bytes:") }

func (s *server) procValue(file, name string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				return 0
			}
			return v
		}
	}
	return 0
}

// dirSize returns the bytes of all files of the data directory.
func (s *server) dirSize() (float64, error) {
	var total int64
	err := filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while walking
		}
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return float64(total), err
}
